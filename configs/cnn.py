"""CNN on each window: 5 blocks of convolution, max-pool and dropout.

Track accuracy on GTZAN's fault-filtered test list: 65.2 %, trained on its other
639 tracks (docs/RESULTS.md, with the commands).

python -m mgc_jax.main --config=configs/cnn.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import recipe_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = recipe_config()
  config.model.name = 'cnn'
  return config
