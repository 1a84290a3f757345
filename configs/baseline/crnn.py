"""The baseline C-RNN: 818,874 parameters on windows of 258 frames x 128 bands.

Its LSTM runs over the 4 time steps left after pooling a window, not over
windows. Its authors report a window accuracy of 77.2 %, under a leaking split
(`--config.data.protocol=window`).

python -m mgc_jax.main --config=configs/baseline/crnn.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import baseline_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = baseline_config()
  config.model.name = 'crnn'
  config.model.cnn.readout = 'steps'
  config.model.lstm.hidden_size = 256
  config.model.lstm.input_dropout = 0.25
  config.model.lstm.recurrent_dropout = 0.25
  return config
