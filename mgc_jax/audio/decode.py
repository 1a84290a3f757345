"""Decodes any audio file to mono float32 at one rate, in bounded memory.

libsndfile reads the formats that it supports, ffmpeg (if installed) the others.
The length in a header is used to seek and to detect damage, never as a limit:
a file is read to its end, and the decoded length is what counts.
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

TOLERANCE_S = 0.1  # codecs pad and trim by less than this

_SILENCE_PEAK = 1e-4  # -80 dBFS
_SILENT = 'silent: no sample above -80 dBFS'
_LOUDEST = 1e6  # 120 dB above full scale; anything louder is damage
# Channels cancel if their mean has less than a hundredth (-20 dB) of the power
# of the loudest one: a correlation below -0.98.
_CANCELLED = 0.01


@dataclasses.dataclass
class Outcome:
  """The result of decoding a file; final once decoding has ended.

  Attributes:
    duration_s: how much was decoded so far.
    stated_s: the exact length that the file states; 0 if it states none.
    is_cut: whether the file visibly ends too early.
    fault: what is wrong with the file, apart from its length.
  """

  duration_s: float = 0.0
  stated_s: float = 0.0
  is_cut: bool = False
  fault: str = ''

  @property
  def fraction(self) -> float:
    """The fraction of the stated length that was decoded, at most 1.

    Without a stated length it is 1, or 0 if the file ends too early.
    """
    if not self.stated_s:
      return 0.0 if self.is_cut else 1.0
    return min(1.0, self.duration_s / self.stated_s)

  @property
  def warning(self) -> str:
    """Describes the damage for the user; empty if the file is intact."""
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

  Iterating yields pairs of an excerpt's start in seconds and its f32[L] mono
  samples, with full scale at 1. Mono is the mean of the channels, or the
  loudest channel if they cancel. From a damaged file it yields what can be
  decoded. `outcome` is final after the last pair.

  Attributes:
    info: what the file's header states.
    outcome: the result of decoding.
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
      path: an audio file in any format.
      sample_rate_hz: the rate to which the samples are resampled (soxr, HQ).
      excerpt_s: the maximum length of an excerpt.
      excerpts: `middle` for the middle excerpt of what can be decoded, or
        `all` for consecutive excerpts; the last one is shorter, and silent
        ones are skipped.

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
    """Yields pairs of start and samples, as described for the class.

    Raises:
      DataError: nothing can be decoded, or all of it is silent.
    """
    find = self._middle if self._excerpts == 'middle' else self._all
    num_decoded, is_audible = 0, False
    for start_s, excerpt in find():
      num_decoded += len(excerpt)
      if _is_audible(excerpt):
        is_audible = True
        yield start_s, excerpt
    if not num_decoded:
      raise DataError('damaged: no sound could be decoded')
    if not is_audible:
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
    if info.is_exact and self._has_end():
      start_s = max(0.0, (info.duration_s - excerpt_s) / 2)
      self.outcome = Outcome()
      excerpt = self._read(start_s, excerpt_s, self.outcome)
      missing_s = min(info.duration_s, excerpt_s) - self.outcome.duration_s
      if missing_s < TOLERANCE_S:
        self.outcome.duration_s = self.outcome.stated_s = info.duration_s
        yield start_s, excerpt
        return
    # The length is known only after decoding everything; then read the middle.
    self.outcome = outcome = Outcome()
    for _ in _mono_blocks(self._path, info, outcome):
      pass
    start_s = max(0.0, (outcome.duration_s - excerpt_s) / 2)
    yield start_s, self._read(start_s, excerpt_s, Outcome(), may_seek=False)

  def _has_end(self) -> bool:
    """Returns whether there is sound at the end of the stated length.

    Not checked for files that ffmpeg reads, as it would take another process.
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
    """Returns f32[L] mono samples of part of the file."""
    info = self.info
    if not may_seek:
      info = dataclasses.replace(info, is_exact=False)
    blocks = _mono_blocks(self._path, info, outcome, start_s, duration_s)
    parts = list(_resampled(blocks, info.sample_rate_hz, self._rate_hz))
    length = max(1, round(duration_s * self._rate_hz))
    return np.concatenate([np.zeros(0, np.float32), *parts])[:length]


def decoded(path: str | os.PathLike) -> Outcome:
  """Decodes a file to its end and returns its length and any damage.

  Args:
    path: an audio file in any format.

  Raises:
    DataError: the file cannot be decoded or is silent, as for `ExcerptReader`.
  """
  info, outcome = probe(path), Outcome()
  is_audible = False
  for block in _mono_blocks(path, info, outcome):
    is_audible = is_audible or _is_audible(block)
  if not outcome.duration_s:
    raise DataError('damaged: no sound could be decoded')
  if not is_audible:
    raise DataError(_SILENT)
  return outcome


def _is_audible(samples: np.ndarray) -> bool:
  return bool(np.abs(samples).max(initial=0) > _SILENCE_PEAK)


def _mono_blocks(
  path: str | os.PathLike,
  info: AudioInfo,
  outcome: Outcome,
  start_s: float = 0.0,
  duration_s: float | None = None,
) -> Iterator[np.ndarray]:
  """Yields f32[n] mono at the file's own rate and updates `outcome`."""
  if info.is_exact and duration_s is None:
    outcome.stated_s = info.duration_s
  outcome.fault, outcome.is_cut = info.fault, info.is_cut
  num_read = 0
  for block in _blocks(path, info, start_s, duration_s):
    block, is_damaged = _without_damage(block)
    if is_damaged:
      outcome.fault = 'contains samples that are not finite or far too large'
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
  """Yields f32[n, channels]; if libsndfile fails, ffmpeg continues."""
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
  """Returns a block with finite samples only, and whether any were not."""
  peak = max(block.max(initial=0), -block.min(initial=0))
  if peak <= _LOUDEST:  # False for NaN as well
    return block, False
  finite = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
  return np.clip(finite, -_LOUDEST, _LOUDEST), True


def _mono(block: np.ndarray) -> np.ndarray:
  """Maps f32[n, channels] to f32[n]: the mean, unless the channels cancel."""
  num_channels = block.shape[1]
  if num_channels == 1:
    return block[:, 0]
  # A matrix product is 40 times as fast as np.mean over a short axis.
  mean = block @ np.full(num_channels, 1 / num_channels, np.float32)
  mean_power, power = mean @ mean, np.vdot(block, block)
  if mean_power >= _CANCELLED * power:  # `power` is the sum over the channels
    return mean
  powers = np.einsum('nc,nc->c', block, block)
  loudest = int(powers.argmax())
  if mean_power < _CANCELLED * powers[loudest]:
    # Among equally loud channels always take the first, so that the sign does
    # not change from block to block.
    first = int(np.flatnonzero(powers > powers[loudest] / 2)[0])
    return np.ascontiguousarray(block[:, first])
  return mean


def _of_length(
  blocks: Iterator[np.ndarray], length: int
) -> Iterator[np.ndarray]:
  """Regroups f32[n] blocks into blocks of one length; the last is shorter."""
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
  """Yields f32[n] blocks resampled to another rate."""
  if from_hz == to_hz:
    yield from blocks
    return
  resampler = soxr.ResampleStream(from_hz, to_hz, 1)
  for block in blocks:
    yield resampler.resample_chunk(block)
  yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
