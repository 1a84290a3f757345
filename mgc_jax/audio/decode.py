"""Decodes any audio file to mono float32 at one rate, in bounded memory.

libsndfile first; ffmpeg, where it is installed, for what libsndfile cannot
read (m4a, for one). The only module that opens audio.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import soundfile
import soxr

from mgc_jax.errors import DataError

_BLOCK_VALUES = 1 << 17
_SILENCE_PEAK = 1e-4  # -80 dB under full scale
_SILENT = 'silent: no sample above -80 dB of full scale'
_SAMPLE_RATES_HZ = (1000, 1_000_000)
_MAX_DURATION_S = 30 * 24 * 3600.0
_PROBE_TIMEOUT_S = 60.0  # of ffprobe, which needs milliseconds
_TOLERANCE_S = 0.1  # codecs pad and trim by less than that
# Containers of one recording each: no playlists, which name other files.
_FFMPEG_FORMATS = 'aac,ac3,aiff,asf,au,flac,matroska,mov,mp3,ogg,wav'


@dataclasses.dataclass(frozen=True)
class AudioInfo:
  """What a file's header promises."""

  sample_rate_hz: int
  num_channels: int
  duration_s: float
  reader: str  # sndfile or ffmpeg


def read_excerpts(
  path: str | os.PathLike,
  sample_rate_hz: int,
  excerpt_s: float,
  excerpts: str = 'middle',
) -> Iterator[np.ndarray]:
  """Yields excerpts of a file as mono audio.

  Args:
    path: of the audio file.
    sample_rate_hz: of the result; other rates are resampled (soxr, HQ).
    excerpt_s: the longest excerpt, in seconds.
    excerpts: 'middle' for the middle excerpt, or 'all' one after another, the
      last of them shorter, silent ones left out.

  Yields:
    f32[L] mono samples, the mean of the channels, full scale at 1.

  Raises:
    DataError: the file is missing, empty, not audio, truncated or silent, or
      holds samples that are no numbers; the message says which.
  """
  for _, excerpt in read_timed_excerpts(
    path, sample_rate_hz, excerpt_s, excerpts
  ):
    yield excerpt


def read_timed_excerpts(
  path: str | os.PathLike,
  sample_rate_hz: int,
  excerpt_s: float,
  excerpts: str = 'middle',
) -> Iterator[tuple[float, np.ndarray]]:
  """Yields as `read_excerpts` does, each with where it starts, in seconds."""
  info = probe(path)
  start_s, duration_s = 0.0, info.duration_s
  if excerpts == 'middle' and info.duration_s > excerpt_s:
    start_s, duration_s = (info.duration_s - excerpt_s) / 2, excerpt_s
  length = max(1, round(excerpt_s * sample_rate_hz))
  pending, num_found, num_given = np.zeros(0, np.float32), 0, 0
  for block in _resampled(path, info, sample_rate_hz, start_s, duration_s):
    pending = np.concatenate([pending, block])
    # The middle excerpt is given out at the end, when all checks are done.
    while excerpts == 'all' and len(pending) >= length:
      excerpt, pending = pending[:length], pending[length:]
      at_s = start_s + num_given * length / sample_rate_hz
      num_given += 1
      if _is_heard(excerpt):
        num_found += 1
        yield at_s, excerpt
  if _is_heard(pending[:length]):
    yield start_s + num_given * length / sample_rate_hz, pending[:length]
  elif not num_found:
    raise DataError(_SILENT)


def decoded_s(path: str | os.PathLike) -> float:
  """Decodes a file to its end, and returns how long it is, in seconds.

  Args:
    path: of the audio file.

  Raises:
    DataError: as `read_excerpts` does; also where all of it is silent.
  """
  info = probe(path)
  num_samples, is_heard = 0, False
  rate_hz = info.sample_rate_hz  # its own: nothing is resampled
  for block in _resampled(path, info, rate_hz, 0.0, info.duration_s):
    num_samples += len(block)
    is_heard = is_heard or _is_heard(block)
  if not is_heard:
    raise DataError(_SILENT)
  return num_samples / rate_hz


def _is_heard(samples: np.ndarray) -> bool:
  return bool(np.abs(samples).max(initial=0) > _SILENCE_PEAK)


def probe(path: str | os.PathLike) -> AudioInfo:
  """Reads a file's header; `DataError` where it is not readable audio."""
  path = pathlib.Path(path)
  try:
    if not path.is_file():
      raise DataError('not a file' if path.exists() else 'no such file')
    if path.stat().st_size == 0:
      raise DataError('empty: 0 bytes')
    with path.open('rb') as file:
      file.read(1)
  except OSError as error:
    raise DataError(f'cannot be opened: {error.strerror}') from error
  try:
    with soundfile.SoundFile(os.fsencode(path)) as file:
      _refuse_truncated_header(file.extra_info)
      rate, channels, frames = file.samplerate, file.channels, file.frames
      if file.format == 'OGG':
        _refuse_unfinished_ogg(path)
  except soundfile.LibsndfileError as error:
    return _probe_ffmpeg(path, error)
  return _checked(AudioInfo(rate, channels, frames / rate, 'sndfile'))


def _checked(info: AudioInfo) -> AudioInfo:
  """A header is somebody else's claim; absurd ones would cost memory."""
  low, high = _SAMPLE_RATES_HZ
  if not low <= info.sample_rate_hz <= high:
    raise DataError(
      f'damaged: a sample rate of {info.sample_rate_hz} Hz, not in {low} to '
      f'{high}'
    )
  if info.duration_s > _MAX_DURATION_S:
    raise DataError(
      'states no length, as files that were written to a pipe; write it anew, '
      'for example by: ffmpeg -i OLD NEW'
    )
  return info


def _refuse_truncated_header(libsndfile_log: str) -> None:
  """WAV and AU state their size; libsndfile reads less without an error."""
  found = re.search(
    r'(?:^data|Data Size)\s*:\s*(\d+) \(should be (\d+)\)',
    libsndfile_log,
    re.MULTILINE,
  )
  if not found:
    return
  promised, actual = (int(group) for group in found.groups())
  is_stream = promised >= 0x7FFF0000  # written to a pipe: size unknown
  if promised > actual and not is_stream:
    raise DataError(f'truncated: {actual} of {promised} bytes of audio')


def _refuse_unfinished_ogg(path: pathlib.Path) -> None:
  """The last page of a whole Ogg stream carries the end-of-stream flag."""
  with path.open('rb') as file:
    file.seek(max(0, path.stat().st_size - (1 << 17)))
    tail = file.read()
  page = tail.rfind(b'OggS')
  if page < 0 or page + 5 >= len(tail) or not tail[page + 5] & 4:
    raise DataError('truncated: the Ogg stream has no end')


def _probe_ffmpeg(
  path: pathlib.Path, sndfile_error: soundfile.LibsndfileError
) -> AudioInfo:
  if not shutil.which('ffmpeg') or not shutil.which('ffprobe'):
    raise DataError(
      'not audio: libsndfile cannot read it; for other formats install ffmpeg'
    ) from sndfile_error
  command = ['ffprobe', '-v', 'error', '-format_whitelist', _FFMPEG_FORMATS]
  command += ['-select_streams', 'a:0', '-of', 'json', '-show_entries']
  command += ['stream=sample_rate,channels,duration:format=duration']
  command += [f'file:{path}']
  try:
    done = subprocess.run(
      command, capture_output=True, check=False, timeout=_PROBE_TIMEOUT_S
    )
    found = json.loads(done.stdout)
    stream, container = found['streams'][0], found['format']
    # The container may hold a longer picture.
    duration_s = float(stream.get('duration', container.get('duration')))
    rate, channels = int(stream['sample_rate']), int(stream['channels'])
  except (
    LookupError,
    TypeError,
    ValueError,
    subprocess.TimeoutExpired,
  ) as error:
    raise DataError(
      'not audio: neither libsndfile nor ffmpeg can read it'
    ) from error
  return _checked(AudioInfo(rate, channels, duration_s, 'ffmpeg'))


def _resampled(
  path: str | os.PathLike,
  info: AudioInfo,
  sample_rate_hz: int,
  start_s: float,
  duration_s: float,
) -> Iterator[np.ndarray]:
  """Yields f32[n] mono blocks; raises where fewer came than promised."""
  read = _sndfile_blocks if info.reader == 'sndfile' else _ffmpeg_blocks
  resampler = None
  if info.sample_rate_hz != sample_rate_hz:
    resampler = soxr.ResampleStream(info.sample_rate_hz, sample_rate_hz, 1)
  num_read = 0
  with contextlib.closing(read(path, info, start_s, duration_s)) as blocks:
    for block in blocks:
      if not np.isfinite(block).all():
        raise DataError('holds samples that are NaN or infinite')
      num_read += len(block)
      mono = block.mean(axis=1, dtype=np.float32)
      yield resampler.resample_chunk(mono) if resampler else mono
  read_s = num_read / info.sample_rate_hz
  if read_s < duration_s - _TOLERANCE_S:
    raise DataError(f'truncated: {read_s:.1f} of {duration_s:.1f} s decoded')
  if resampler:
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _block_frames(info: AudioInfo) -> int:
  """Returns how much to decode at once; a file may claim many channels."""
  return max(1, _BLOCK_VALUES // info.num_channels)


def _sndfile_blocks(
  path: str | os.PathLike, info: AudioInfo, start_s: float, duration_s: float
) -> Iterator[np.ndarray]:
  """Yields f32[n, channels] at the file's own rate."""
  remaining = round(duration_s * info.sample_rate_hz)
  try:
    with soundfile.SoundFile(os.fsencode(path)) as file:
      file.seek(round(start_s * info.sample_rate_hz))
      while remaining > 0:
        block = file.read(
          min(remaining, _block_frames(info)), dtype='float32', always_2d=True
        )
        if not len(block):
          return
        remaining -= len(block)
        yield block
  except soundfile.LibsndfileError as error:
    raise DataError(f'damaged: {error.error_string}') from error


def _ffmpeg_blocks(
  path: str | os.PathLike, info: AudioInfo, start_s: float, duration_s: float
) -> Iterator[np.ndarray]:
  """Yields f32[n, channels] at the file's own rate."""
  command = ['ffmpeg', '-nostdin', '-v', 'error']
  command += ['-format_whitelist', _FFMPEG_FORMATS]
  command += ['-ss', f'{start_s:.6f}', '-t', f'{duration_s:.6f}']
  command += ['-i', f'file:{os.fspath(path)}', '-map', '0:a:0']
  command += ['-ac', f'{info.num_channels}', '-ar', f'{info.sample_rate_hz}']
  command += ['-f', 'f32le', 'pipe:1']
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
  ) as process:
    frame_bytes = 4 * info.num_channels
    try:
      while data := process.stdout.read(_block_frames(info) * frame_bytes):
        whole = len(data) // frame_bytes * frame_bytes
        block = np.frombuffer(data[:whole], '<f4')
        yield block.reshape(-1, info.num_channels)
    finally:
      process.kill()
