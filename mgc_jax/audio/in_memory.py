"""Gives audio that is in memory a file, as the decoders read files only."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
import soundfile

from mgc_jax.system.errors import DataError

_MAX_RATE_HZ = 1e9  # the decoders have narrower limits; this fits an integer


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
    DataError: the samples have another shape or type, or no sample rate, or the
      file cannot be written.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'audio'
    try:
      if isinstance(audio, bytes):
        path.write_bytes(audio)
      else:
        _write_samples(path, audio, sample_rate_hz)
    except OSError as error:
      raise DataError(f'{path}: cannot be written ({error})') from error
    yield path


def _write_samples(
  path: pathlib.Path, samples: np.ndarray, sample_rate_hz: int | None
) -> None:
  """Writes samples that are not damaged more than a file could be."""
  name = f'samples are {samples.dtype}{list(samples.shape)}'
  if samples.ndim not in (1, 2) or samples.dtype.kind != 'f':
    raise DataError(
      f'{name}: must be floating-point numbers of shape [L] or [L, channels]'
    )
  if not samples.size:
    raise DataError(f'{name}: empty')
  if not sample_rate_hz or not 0 < sample_rate_hz <= _MAX_RATE_HZ:
    raise DataError(f'samples need a sample_rate_hz, not {sample_rate_hz}')
  try:
    # W64: a WAV file ends at 4 GiB.
    soundfile.write(
      path,
      samples.astype(np.float32, copy=False),
      round(sample_rate_hz),
      format='W64',
      subtype='FLOAT',
    )
  except soundfile.LibsndfileError as error:  # for example too many channels
    raise DataError(f'{name}: cannot be used ({error})') from error
