"""librosa, to compare with, imported without compiling it.

At its import numba compiles functions for finding peaks and pitches, which
takes over ten seconds and which no test calls. What tests call is numpy.
"""

from unittest import mock

import numba


def _unchanged(*_args, **_kwargs):
  return lambda function: function


with mock.patch.multiple(numba, guvectorize=_unchanged, vectorize=_unchanged):
  import librosa

  # Its modules are imported at their first use.
  mel_frequencies = librosa.mel_frequencies
  melspectrogram = librosa.feature.melspectrogram
  power_to_db = librosa.power_to_db
