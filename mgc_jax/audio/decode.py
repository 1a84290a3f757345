"""Decodes any audio file to mono float32 at one rate, in bounded memory.

libsndfile reads what it can, ffmpeg (where it is installed) the rest. What a
header states is used for seeking and for finding damage, never as a limit: a
file is read to its end, and the decoded length is what counts.
"""

import dataclasses
import os
from collections.abc import Iterator

import numpy as np
import soxr

from mgc_jax.audio import ffmpeg, sndfile
from mgc_jax.audio.info import AudioInfo
from mgc_jax.audio.probe import MAX_DURATION_S, probe
from mgc_jax.system.errors import DataError

TOLERANCE_S = 0.1  # codecs pad and trim by less than that

_SILENCE_PEAK = 1e-4  # -80 dB under full scale
_SILENT = 'silent: no sample above -80 dB of full scale'
_LOUDEST = 1e6  # 120 dB over full scale; more is damage
# Channels cancel each other where their mean has under a hundredth (-20 dB) of
# the power of the loudest: a correlation under -0.98.
_CANCELLED = 0.01


@dataclasses.dataclass
class Outcome:
  """How the decoding of a file went; complete when it has ended.

  Attributes:
    duration_s: decoded so far.
    stated_s: the exact length that the file states; 0 where it states none.
    is_cut: whether the file visibly ends too early.
    fault: what is wrong with the file in spite of its length.
  """

  duration_s: float = 0.0
  stated_s: float = 0.0
  is_cut: bool = False
  fault: str = ''

  @property
  def fraction(self) -> float:
    """The part of the stated length that was decoded, at most 1.

    Without a stated length it is 1, or 0 where the file ends too early.
    """
    if not self.stated_s:
      return 0.0 if self.is_cut else 1.0
    return min(1.0, self.duration_s / self.stated_s)

  @property
  def warning(self) -> str:
    """What a person should know of a damaged file; empty for a whole one."""
    if self.stated_s and self.duration_s < self.stated_s - TOLERANCE_S:
      return (
        f'truncated or damaged: {self.duration_s:.1f} of '
        f'{self.stated_s:.1f} s decoded'
      )
    return (
      f'{self.fault}; {self.duration_s:.1f} s decoded' if self.fault else ''
    )


class ExcerptReader:
  """Decodes the excerpts of one file, one after another.

  Iterating yields pairs: where an excerpt starts, in seconds, and its f32[L]
  mono samples, full scale at 1. Mono is the mean of the channels; where they
  cancel each other it is the loudest channel. A damaged file gives what can be
  decoded of it. `outcome` is complete after the last pair.

  Attributes:
    info: what the file states.
    outcome: how the decoding went.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    sample_rate_hz: int,
    excerpt_s: float,
    excerpts: str = 'middle',
  ):
    """Reads the header.

    Args:
      path: of the audio file.
      sample_rate_hz: of the result; other rates are resampled (soxr, HQ).
      excerpt_s: the longest excerpt, in seconds.
      excerpts: `middle` for the middle excerpt of what can be decoded, or
        `all` for one after another, the last of them shorter, silent ones left
        out.

    Raises:
      DataError: the file is missing, empty, or not audio.
    """
    self.info = probe(path, reads_all=excerpts == 'all')
    self.outcome = Outcome()
    self._path = path
    self._rate_hz = sample_rate_hz
    self._excerpt_s = excerpt_s
    self._excerpts = excerpts

  def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
    """Yields as the class says.

    Raises:
      DataError: nothing can be decoded, or all of it is silent.
    """
    find = self._middle if self._excerpts == 'middle' else self._all
    num_decoded, is_heard = 0, False
    for start_s, excerpt in find():
      num_decoded += len(excerpt)
      if _is_heard(excerpt):
        is_heard = True
        yield start_s, excerpt
    if not num_decoded:
      raise DataError('damaged: no sound could be decoded')
    if not is_heard:
      raise DataError(_SILENT)

  def _all(self) -> Iterator[tuple[float, np.ndarray]]:
    self.outcome = Outcome()
    length = max(1, round(self._excerpt_s * self._rate_hz))
    blocks = _mono_blocks(self._path, self.info, self.outcome)
    blocks = _resampled(blocks, self.info.sample_rate_hz, self._rate_hz)
    for number, excerpt in enumerate(_of_length(blocks, length)):
      yield number * length / self._rate_hz, excerpt

  def _middle(self) -> Iterator[tuple[float, np.ndarray]]:
    info, excerpt_s = self.info, self._excerpt_s
    if info.is_exact and self._has_its_end():
      start_s = max(0.0, (info.duration_s - excerpt_s) / 2)
      self.outcome = Outcome()
      excerpt = self._read(start_s, excerpt_s, self.outcome)
      missing_s = min(info.duration_s, excerpt_s) - self.outcome.duration_s
      if missing_s < TOLERANCE_S:
        self.outcome.duration_s = self.outcome.stated_s = info.duration_s
        yield start_s, excerpt
        return
    # How much there is shows only at the end; then the middle is read.
    self.outcome = outcome = Outcome()
    for _ in _mono_blocks(self._path, info, outcome):
      pass
    start_s = max(0.0, (outcome.duration_s - excerpt_s) / 2)
    yield start_s, self._read(start_s, excerpt_s, Outcome(), may_seek=False)

  def _has_its_end(self) -> bool:
    """Returns whether there is sound where the stated length ends.

    ffmpeg would need a process for that, so its files are believed.
    """
    if self.info.is_cut or self.info.reader == 'ffmpeg':
      return not self.info.is_cut
    last_s = max(0.0, self.info.duration_s - 2 * TOLERANCE_S)
    try:
      found = sndfile.blocks(self._path, last_s, TOLERANCE_S)
      return next(found, None) is not None
    except sndfile.ERRORS:
      return False

  def _read(
    self,
    start_s: float,
    duration_s: float,
    outcome: Outcome,
    may_seek: bool = True,
  ) -> np.ndarray:
    """Returns f32[L] mono of a part of the file."""
    info = self.info
    if not may_seek:
      info = dataclasses.replace(info, is_exact=False)
    blocks = _mono_blocks(self._path, info, outcome, start_s, duration_s)
    parts = list(_resampled(blocks, info.sample_rate_hz, self._rate_hz))
    length = max(1, round(duration_s * self._rate_hz))
    return np.concatenate([np.zeros(0, np.float32), *parts])[:length]


def decoded(path: str | os.PathLike) -> Outcome:
  """Decodes a file to its end.

  Args:
    path: of the audio file.

  Returns:
    Its length, and what is wrong with it.

  Raises:
    DataError: as iterating over an `ExcerptReader` does; also where all of it
      is silent.
  """
  info, outcome = probe(path), Outcome()
  is_heard = False
  for block in _mono_blocks(path, info, outcome):
    is_heard = is_heard or _is_heard(block)
  if not outcome.duration_s:
    raise DataError('damaged: no sound could be decoded')
  if not is_heard:
    raise DataError(_SILENT)
  return outcome


def _is_heard(samples: np.ndarray) -> bool:
  return bool(np.abs(samples).max(initial=0) > _SILENCE_PEAK)


def _mono_blocks(
  path: str | os.PathLike,
  info: AudioInfo,
  outcome: Outcome,
  start_s: float = 0.0,
  duration_s: float | None = None,
) -> Iterator[np.ndarray]:
  """Yields f32[n] mono at the file's own rate; keeps count in `outcome`."""
  if info.is_exact and duration_s is None:
    outcome.stated_s = info.duration_s
  outcome.fault, outcome.is_cut = info.fault, info.is_cut
  num_read = 0
  for block in _blocks(path, info, start_s, duration_s):
    block, is_damaged = _without_damage(block)
    if is_damaged:
      outcome.fault = 'holds samples that are not numbers or far too large'
    num_read += len(block)
    outcome.duration_s = num_read / info.sample_rate_hz
    yield _mono(block)
    if outcome.duration_s > MAX_DURATION_S:
      outcome.fault = 'decodes to more than 30 days of sound'
      return


def _blocks(
  path: str | os.PathLike,
  info: AudioInfo,
  start_s: float,
  duration_s: float | None,
) -> Iterator[np.ndarray]:
  """Yields f32[n, channels]; where libsndfile gives up, ffmpeg continues."""
  may_seek = info.is_exact
  if info.reader == 'sndfile':
    num_read, has_failed = 0, False
    try:
      for block in sndfile.blocks(path, start_s, duration_s):
        num_read += len(block)
        yield block
    except sndfile.ERRORS:
      has_failed = True
    read_s = num_read / info.sample_rate_hz
    stated_s = max(0.0, info.duration_s - start_s) if info.is_exact else 0.0
    wanted_s = stated_s if duration_s is None else min(duration_s, stated_s)
    is_short = read_s < wanted_s - TOLERANCE_S
    if not (has_failed or is_short) or not ffmpeg.is_installed():
      return
    start_s, may_seek = start_s + read_s, False
    duration_s = None if duration_s is None else duration_s - read_s
  yield from ffmpeg.blocks(path, info, start_s, duration_s, may_seek)


def _without_damage(block: np.ndarray) -> tuple[np.ndarray, bool]:
  """Returns a block of finite samples, and whether some were not."""
  peak = max(block.max(initial=0), -block.min(initial=0))
  if peak <= _LOUDEST:  # false for NaN, too
    return block, False
  finite = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
  return np.clip(finite, -_LOUDEST, _LOUDEST), True


def _mono(block: np.ndarray) -> np.ndarray:
  """Returns f32[n] of f32[n, channels], the mean unless it cancels itself."""
  num_channels = block.shape[1]
  if num_channels == 1:
    return block[:, 0]
  # As a product it takes a fortieth of the time of np.mean over a short axis.
  mean = block @ np.full(num_channels, 1 / num_channels, np.float32)
  mean_power, power = mean @ mean, np.vdot(block, block)
  if mean_power >= _CANCELLED * power:  # of all channels together
    return mean
  powers = np.einsum('nc,nc->c', block, block)
  loudest = int(powers.argmax())
  if mean_power < _CANCELLED * powers[loudest]:
    # Of equally loud channels always the first, or its sign would change.
    first = int(np.flatnonzero(powers > powers[loudest] / 2)[0])
    return np.ascontiguousarray(block[:, first])
  return mean


def _of_length(
  blocks: Iterator[np.ndarray], length: int
) -> Iterator[np.ndarray]:
  """Joins f32[n] blocks and cuts them to a length; the last is shorter."""
  parts, missing = [], length
  for block in blocks:
    while len(block) >= missing:
      yield np.concatenate([*parts, block[:missing]])
      block, parts, missing = block[missing:], [], length
    parts.append(block)
    missing -= len(block)
  if missing < length:
    yield np.concatenate(parts)


def _resampled(
  blocks: Iterator[np.ndarray], from_hz: int, to_hz: int
) -> Iterator[np.ndarray]:
  """Yields f32[n] at another rate."""
  if from_hz == to_hz:
    yield from blocks
    return
  resampler = soxr.ResampleStream(from_hz, to_hz, 1)
  for block in blocks:
    yield resampler.resample_chunk(block)
  yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
