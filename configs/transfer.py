"""Transfer: an LSTM on the features of musicnn, a pretrained encoder.

Track accuracy on the four genres of Emotify: 71.5 and 68.1 % with two seeds, in
five folds over artists (docs/RESULTS.md).

python -m mgc_jax.main --config=configs/transfer.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import encoder_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  return encoder_config('musicnn')
