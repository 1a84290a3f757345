"""Gives audio that is in memory a file, as the decoders read files only."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
import soundfile

from mgc_jax.system.errors import DataError


@contextlib.contextmanager
def temporary_file(
  audio: bytes | np.ndarray, sample_rate_hz: int | None = None
) -> Iterator[pathlib.Path]:
  """Provides the path of a temporary file with the audio.

  Args:
    audio: the content of an audio file, or f[L] or f[L, channels] samples with
      full scale at 1.
    sample_rate_hz: the rate of samples; unused for the content of a file.

  Raises:
    DataError: the samples have another shape or type, or no sample rate.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'audio'
    if isinstance(audio, bytes):
      path.write_bytes(audio)
      yield path
      return
    if audio.ndim not in (1, 2) or not np.issubdtype(audio.dtype, np.floating):
      raise DataError(
        f'samples are {audio.dtype}{list(audio.shape)}: must be '
        'floating-point numbers of shape [L] or [L, channels]'
      )
    if not sample_rate_hz:
      raise DataError('samples need a sample_rate_hz')
    soundfile.write(path, audio, sample_rate_hz, format='WAV', subtype='FLOAT')
    yield path
