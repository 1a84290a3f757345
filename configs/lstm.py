"""LSTM over the frames of an excerpt; its state crosses windows.

python -m mgc_jax.main --config=configs/lstm.py
"""

from mgc_jax.config import ConfigDict, base_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = base_config()
  config.model.name = 'lstm'
  config.model.dense.sizes = (150, 100, 50)
  config.model.dense.dropout = (0.25, 0.0, 0.0)
  return config
