"""The tags that the pretrained encoder gives a file; not genres of a model."""

import os

import numpy as np

from mgc_jax.audio.decode import ExcerptReader
from mgc_jax.config.schema import ENCODERS
from mgc_jax.features.encoder import Encoder

_EXCERPT_S = 30.0  # how much is in memory at once


def tags_of(path: str | os.PathLike, encoder: Encoder) -> dict[str, float]:
  """Returns the probability of each tag of a file, the most probable first.

  Args:
    path: an audio file, which is decoded to its end.
    encoder: computes the probabilities.

  Returns:
    The mean over windows of 3 s. A tag is independent of the others, so the
    probabilities do not add up to 1.

  Raises:
    DataError: the file cannot be read.
  """
  rate_hz = ENCODERS['musicnn_tags']['sample_rate_hz']
  reader = ExcerptReader(path, rate_hz, _EXCERPT_S, 'all')
  _, tags = encoder.encode(samples for _, samples in reader)
  mean = tags.mean(axis=0)
  order = np.argsort(-mean, kind='stable')
  return {encoder.tag_names[i]: float(mean[i]) for i in order}
