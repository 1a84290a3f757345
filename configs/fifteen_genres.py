"""CNN on GTZAN and FMA-small together: fifteen genres.

Track accuracy on the 207 tracks of Emotify, from which no track was used in
training: 37.4 % (5 seeds). On artists of both collections that were not used in
training: 50.6 % (3 seeds, docs/RESULTS.md).

The frames are what both collections can provide: 22,050 Hz, 128 bands up to
11,025 Hz, 4.3 frames per second.

python -m mgc_jax.main --config=configs/fifteen_genres.py \
  --config.data.manifest=runs/gtzan/manifest.csv,runs/fma/manifest.csv
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import sparse_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = sparse_config()
  config.features.frames_per_s = 4.3
  config.augment.filter_db = 0.0
  config.augment.max_shift_bands = 0
  return config
