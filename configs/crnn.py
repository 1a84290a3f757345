"""CRNN: the CNN on each window, an LSTM over the windows of an excerpt.

python -m mgc_jax.main --config=configs/crnn.py
"""

from mgc_jax.config import ConfigDict, base_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = base_config()
  config.model.name = 'crnn'
  config.model.lstm.readout = 'last'  # one step a window
  config.model.lstm.output_dropout = 0.2
  config.model.dense.dropout = (0.0,)
  return config
