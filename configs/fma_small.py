"""CNN on FMA-small as ready-made frames: 8 genres, 6,707 tracks.

The frames are those of $DATA/fma_small_logmel: 128 single frames of the first
30 s of each track, at 44.1 kHz, about 4.3 per second.

python -m mgc_jax.main --config=configs/fma_small.py \
  --config.data.root=runs/fma_small
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import sparse_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = sparse_config()
  config.features.sample_rate_hz = 44100
  config.features.max_frequency_hz = 22050.0
  config.features.frames_per_s = 128 / 30
  return config
