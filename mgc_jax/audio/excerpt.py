"""The frames of an excerpt of a track."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Excerpt:
  """Log-mel frames of up to `features.excerpt_s` of a track.

  Attributes:
    frames: f16[N, F].
    duration_s: the length of the excerpt in seconds.
    sha256: digest of the samples, or of ready-made frames; only set when
      preparing data sets.
    warning: what is wrong with the file, empty if nothing; only set when
      preparing data sets.
    start_s: where the excerpt starts in its track; only set for predictions.
  """

  frames: np.ndarray
  duration_s: float
  sha256: str = ''
  warning: str = ''
  start_s: float = 0.0
