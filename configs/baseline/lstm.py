"""The baseline LSTM: 2,676,554 parameters on windows of 258 frames x 128 bands.

Its steps are the 128 bands, with 258 frames as features: the axes are swapped,
as in the published network. Its authors report a window accuracy of 68.66 %,
under a leaking split (`--config.data.protocol=window`).

python -m mgc_jax.main --config=configs/baseline/lstm.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import baseline_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = baseline_config()
  config.model.name = 'lstm'
  config.model.lstm.bands_as_steps = True
  config.model.lstm.input_dropout = 0.5
  config.model.lstm.recurrent_dropout = 0.6
  config.model.dense.sizes = (150, 100, 50)
  config.model.dense.dropout = (0.35, 0.25, 0.25)
  config.train.num_epochs = 75
  return config
