"""Tags: an LSTM on the tags of musicnn, a pretrained encoder.

Track accuracy on GTZAN's train list and Emotify, eleven genres, in five folds
over artists: 73.2 % (docs/RESULTS.md, with the commands).

python -m mgc_jax.main --config=configs/tags.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import encoder_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  return encoder_config('musicnn_tags')
