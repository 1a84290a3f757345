"""Computes the frames of a track's excerpts, in worker processes."""

import dataclasses
import hashlib
import os
import tokenize
from collections.abc import Iterator

import numpy as np

from mgc_jax.audio.decode import TOLERANCE_S, ExcerptReader, Outcome
from mgc_jax.audio.excerpt import Excerpt
from mgc_jax.config.schema import FeaturesConfig, frame_rate_hz
from mgc_jax.datasets.remote import local_copy
from mgc_jax.datasets.sources import synthetic
from mgc_jax.datasets.track import Track
from mgc_jax.features.frames import frames_of
from mgc_jax.system.errors import DataError

# With config.data.on_damage=auto, a damaged file is skipped if a smaller
# fraction than this was decoded.
_MIN_DECODED_FRACTION = 0.9
_MAX_HEADER_BYTES = 4096  # of a .npy file; usually it has 128
# What numpy may raise for a malformed header.
_HEADER_ERRORS = (
  EOFError,
  OverflowError,
  SyntaxError,
  TypeError,
  ValueError,
  tokenize.TokenError,
)


def excerpts_of(
  track: Track,
  features: FeaturesConfig,
  min_duration_s: float,
  on_damage: str = 'auto',
) -> list[Excerpt]:
  """Decodes a track and computes its frames.

  Args:
    track: its path is an audio file, a `.npy` file with precomputed
      frames (float[N, F], used unchanged), or that of a synthetic track.
    features: `config.features`.
    min_duration_s: a shorter track is an error; a shorter last excerpt of a
      longer track is dropped.
    on_damage: `config.data.on_damage`.

  Returns:
    The excerpts in order, at least one. Those of a damaged file are taken from
    the part that can be decoded and have a warning.

  Raises:
    DataError: says what is wrong with the file, without its name.
  """
  found = []
  with local_copy(track.path) as path:
    reader = _reader(path, features)
    for frames, duration_s, data in _signals(path, features, reader):
      if not np.isfinite(frames).all():
        raise DataError('contains NaN, infinite or far too large values')
      digest = hashlib.sha256(data.tobytes()).hexdigest()
      found.append(Excerpt(frames, duration_s, digest))
  outcome = reader.outcome if reader else Outcome()
  warning = _accepted_damage(outcome, on_damage)
  found = [dataclasses.replace(e, warning=warning) for e in found]
  shortest_s = min_duration_s - TOLERANCE_S
  long_enough = [e for e in found if e.duration_s >= shortest_s]
  if not long_enough:
    longest_s = max((e.duration_s for e in found), default=0.0)
    raise DataError(
      f'too short: {longest_s:.2f} s, less than config.data.min_duration_s='
      f'{min_duration_s:g}'
    )
  return long_enough


def _accepted_damage(outcome: Outcome, on_damage: str) -> str:
  """Returns a file's warning; raises a `DataError` if it must be skipped."""
  warning = outcome.warning
  is_accepted = on_damage == 'warn' or (
    on_damage == 'auto' and outcome.fraction >= _MIN_DECODED_FRACTION
  )
  if warning and not is_accepted:
    raise DataError(warning)
  return warning


def try_excerpts(
  track: Track,
  features: FeaturesConfig,
  min_duration_s: float,
  on_damage: str = 'auto',
) -> list[Excerpt] | str:
  """Returns the result of `excerpts_of`, or the reason why it failed."""
  if track.problem:
    return track.problem
  try:
    return excerpts_of(track, features, min_duration_s, on_damage)
  except DataError as error:
    return str(error)


def _reader(path: str, features: FeaturesConfig) -> ExcerptReader | None:
  """Opens an audio file; None for precomputed frames and synthetic tracks."""
  if path.endswith('.npy') or path.startswith(synthetic.SCHEME):
    return None
  return ExcerptReader(
    path, features.sample_rate_hz, features.excerpt_s, features.excerpts
  )


def _signals(
  path: str, features: FeaturesConfig, reader: ExcerptReader | None
) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
  """Yields f16[N, F], the duration in seconds, and the array to hash."""
  rate = features.sample_rate_hz
  # Values beyond float16's range become infinite and are rejected later.
  with np.errstate(over='ignore', invalid='ignore'):
    if path.endswith('.npy'):
      whole = _load_frames(path, features.num_bands)
      frames_per_s = frame_rate_hz(features)
      length = 1 + int(features.excerpt_s * frames_per_s)
      for part in _parts(whole, length, features.excerpts):
        frames = np.asarray(part, np.float16)
        yield frames, len(frames) / frames_per_s, frames
      return
    if reader:
      waveforms = (waveform for _, waveform in reader)
    else:
      length = round(features.excerpt_s * rate)
      whole = synthetic.render(path, rate)
      waveforms = _parts(whole, length, features.excerpts)
    for waveform in waveforms:
      yield frames_of(waveform, features), len(waveform) / rate, waveform


def _parts(whole: np.ndarray, length: int, excerpts: str) -> list[np.ndarray]:
  """Returns the middle part of a length, or all consecutive parts."""
  if excerpts == 'middle':
    start = max(0, (len(whole) - length) // 2)
    return [whole[start : start + length]]
  return [whole[i : i + length] for i in range(0, len(whole), length)]


def _check_header(path: str) -> None:
  """Rejects a header so long that numpy would exhaust memory to parse it."""
  with open(path, 'rb') as file:
    start = file.read(12)
  # Magic (6 bytes), version (2), length of the header (2, or 4 from 2.0 on).
  size = start[8:10] if start[6:7] == b'\x01' else start[8:12]
  if int.from_bytes(size, 'little') > _MAX_HEADER_BYTES:
    raise DataError(
      f'not a complete .npy array: its header exceeds {_MAX_HEADER_BYTES} bytes'
    )


def _load_frames(path: str, num_bands: int) -> np.ndarray:
  """Memory-maps float[N, F]; never loads pickled objects."""
  try:
    if os.path.getsize(path) == 0:
      raise DataError('empty: 0 bytes')
    _check_header(path)
    frames = np.lib.format.open_memmap(path, mode='r')
  except DataError:
    raise
  except OSError as error:
    raise DataError(f'cannot be opened: {error.strerror or error}') from error
  except _HEADER_ERRORS as error:
    raise DataError(f'not a complete .npy array of numbers: {error}') from error
  if not np.issubdtype(frames.dtype, np.floating):
    raise DataError(f'contains {frames.dtype}, not floating-point frames')
  if frames.ndim != 2 or frames.shape[1] != num_bands:
    raise DataError(
      f'shape {frames.shape}, not [frames, {num_bands}]; the number of bands '
      'is config.features.num_bands'
    )
  return frames
