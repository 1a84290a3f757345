"""The baseline CNN: 347,834 parameters on windows of 258 frames x 128 bands.

Its authors report a window accuracy of 73.0 %, under a leaking split
(`--config.data.protocol=window`).

python -m mgc_jax.main --config=configs/baseline/cnn.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import baseline_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = baseline_config()
  config.model.name = 'cnn'
  config.train.batch_size = 32
  return config
