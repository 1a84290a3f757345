"""librosa, to compare with, imported at its first use without compiling it.

At its import numba compiles functions for finding peaks and pitches, which
takes over ten seconds and which no test calls. What tests call is numpy.
"""

import functools
from unittest import mock


@functools.cache
def librosa():
  """Returns the package; its modules are imported."""
  import numba

  with mock.patch.multiple(numba, guvectorize=_unchanged, vectorize=_unchanged):
    import librosa

    # Its modules are imported at their first use.
    _ = librosa.mel_frequencies, librosa.power_to_db
    _ = librosa.feature.melspectrogram
  return librosa


def _unchanged(*_args, **_kwargs):
  return lambda function: function
