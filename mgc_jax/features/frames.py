"""Computes the frames of a waveform, whichever extractor is configured."""

from collections.abc import Callable

import numpy as np

from mgc_jax.audio.log_mel import log_mel
from mgc_jax.config.schema import FeaturesConfig
from mgc_jax.features import encoder
from mgc_jax.features.encoder import Encoder

# The log-odds of probabilities beyond these are clipped.
_MIN_PROBABILITY = 1e-6


def frames_of(
  waveform: np.ndarray,
  features: FeaturesConfig,
  load_encoder: Callable[[], Encoder] | None = None,
) -> np.ndarray:
  """Computes frames with `features.extractor`.

  Args:
    waveform: f32[L] mono at `features.sample_rate_hz`.
    features: `config.features`.
    load_encoder: returns the encoder, if one is needed; None: that of JAX.

  Returns:
    f16[N, F], as `log_mel` returns them, or the features or the log-odds of the
    tags of N windows of musicnn. N is at least 1.
  """
  if features.extractor == 'log_mel':
    return log_mel(waveform, features).astype(np.float16)
  if not load_encoder:
    from mgc_jax.features import musicnn_encoder  # imports JAX

    load_encoder = musicnn_encoder.load
  encoded, tags = load_encoder().encode(waveform)
  if features.extractor == 'musicnn_tags':
    encoded = log_odds(tags)
  return encoded.astype(np.float16)


def weights_digest(features: FeaturesConfig) -> str:
  """Returns the SHA-256 of the extractor's weights; '' if it has none.

  Args:
    features: `config.features`.

  Raises:
    DataError: the weights cannot be read.
  """
  if features.extractor == 'log_mel':
    return ''
  return encoder.weights_digest()


def log_odds(probabilities: np.ndarray) -> np.ndarray:
  """Returns f32[...] log(p / (1 - p)), within about -13.8 and 13.8.

  Args:
    probabilities: f[...], from 0 to 1.
  """
  p = np.clip(
    probabilities.astype(np.float64), _MIN_PROBABILITY, 1 - _MIN_PROBABILITY
  )
  return np.log(p / (1 - p)).astype(np.float32)
