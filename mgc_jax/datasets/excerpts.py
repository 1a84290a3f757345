"""One track to its excerpts' frames: what every worker process runs."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from mgc_jax import audio
from mgc_jax.datasets.sources import synthetic
from mgc_jax.datasets.track import Track
from mgc_jax.errors import DataError
from mgc_jax.features import log_mel


@dataclasses.dataclass(frozen=True)
class Excerpt:
  """Log-mel frames of up to `features.excerpt_s` of a track."""

  frames: np.ndarray  # f16[N, F]
  duration_s: float
  sha256: str  # of the decoded samples, or of ready-made frames


def excerpts_of(
  track: Track, features: ConfigDict, min_duration_s: float
) -> list[Excerpt]:
  """Decodes a track and computes its frames.

  Args:
    track: whose path is an audio file, a `.npy` of ready-made log-mel frames
      (float[N, F], taken as they are), or a synthetic track.
    features: `config.features`.
    min_duration_s: a shorter track is an error; shorter last excerpts of a
      longer track are dropped.

  Raises:
    DataError: says what is wrong with the file, without its name.
  """
  if track.path.endswith('.npy'):
    found = list(_ready_made(track.path, features))
  else:
    found = [
      Excerpt(
        log_mel(waveform, features).astype(np.float16),
        len(waveform) / features.sample_rate_hz,
        hashlib.sha256(waveform.tobytes()).hexdigest(),
      )
      for waveform in _waveforms(track.path, features)
    ]
  long_enough = [e for e in found if e.duration_s >= min_duration_s]
  if not long_enough:
    longest_s = max((e.duration_s for e in found), default=0.0)
    raise DataError(
      f'too short: {longest_s:.2f} s, under config.data.min_duration_s='
      f'{min_duration_s:g}'
    )
  return long_enough


def _waveforms(path: str, features: ConfigDict) -> Iterator[np.ndarray]:
  """Yields f32[L] of each excerpt."""
  rate = features.sample_rate_hz
  if path.startswith(synthetic.SCHEME):
    waveform = synthetic.render(path, rate)
    yield waveform[: round(features.excerpt_s * rate)]
    return
  yield from audio.read_excerpts(
    path, rate, features.excerpt_s, features.excerpts
  )


def _ready_made(path: str, features: ConfigDict) -> Iterator[Excerpt]:
  frames = _load_frames(path, features.num_bands)
  frame_s = features.hop_samples / features.sample_rate_hz
  length = 1 + int(features.excerpt_s / frame_s)
  starts = range(0, len(frames), length)
  if features.excerpts == 'middle':
    starts = [max(0, (len(frames) - length) // 2)]
  for start in starts:
    with np.errstate(over='ignore'):
      excerpt = np.asarray(frames[start : start + length], np.float16)
    if not np.isfinite(excerpt).all():
      raise DataError('holds frames that are NaN, infinite or over 65504')
    yield Excerpt(
      excerpt,
      len(excerpt) * frame_s,
      hashlib.sha256(excerpt.tobytes()).hexdigest(),
    )


def _load_frames(path: str, num_bands: int) -> np.ndarray:
  """Maps float[N, F] into memory; pickled objects are never loaded."""
  try:
    if os.path.getsize(path) == 0:
      raise DataError('empty: 0 bytes')
    frames = np.lib.format.open_memmap(path, mode='r')
  except OSError as error:
    raise DataError(f'cannot be opened: {error.strerror or error}') from error
  except (ValueError, EOFError) as error:
    raise DataError(f'no whole .npy array of numbers: {error}') from error
  if not np.issubdtype(frames.dtype, np.floating):
    raise DataError(f'holds {frames.dtype}, not floating-point frames')
  if frames.ndim != 2 or frames.shape[1] != num_bands:
    raise DataError(
      f'shape {frames.shape}, not [frames, {num_bands}]; '
      'config.features.num_bands says how many bands there are'
    )
  return frames
