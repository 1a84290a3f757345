"""Reads audio through ffmpeg and ffprobe, each in a separate process."""

import contextlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Generator, Iterator

import numpy as np

from mgc_jax.audio.blocks import block_frames, part
from mgc_jax.audio.info import AudioInfo
from mgc_jax.system.errors import DataError

# Containers that hold one recording. Playlists, image sequences and network
# streams refer to other files and are never opened.
FORMATS = (
  'aac,ac3,aea,aiff,amr,amrnb,amrwb,ape,aptx,asf,ast,au,avi,avr,bfstm,brstm,'
  'caf,dff,dsf,dts,dtshd,eac3,flac,flv,gsm,iff,ircam,loas,matroska,mlp,mov,mp3,'
  'mpc,mpc8,mpeg,mpegts,nistsphere,ogg,oma,paf,pvf,qcp,rm,rso,sds,shn,sln,sox,'
  'tak,truehd,tta,voc,vqf,w64,wav,wv,xwma'
)
# Formats whose duration is a sample count; for the others ffprobe estimates it
# from a bit rate.
_EXACT_FORMATS = (
  'aiff',
  'ape',
  'caf',
  'flac',
  'mov',
  'tta',
  'w64',
  'wav',
  'wv',
)
_PROBE_TIMEOUT_S = 60.0  # ffprobe needs milliseconds
_STALL_TIMEOUT_S = 60.0  # without a single decoded sample


# The reason of an error that installing ffmpeg may remove.
MISSING = 'not audio that libsndfile can read; for other formats install ffmpeg'


def is_installed() -> bool:
  """Returns whether ffmpeg and ffprobe are installed."""
  return bool(shutil.which('ffmpeg') and shutil.which('ffprobe'))


def probe(path: str | os.PathLike) -> AudioInfo:
  """Returns what ffprobe reports about a file's first audio stream.

  Args:
    path: a file in any of `FORMATS`.

  Raises:
    DataError: ffmpeg is not installed, or cannot read the file.
  """
  if not is_installed():
    raise DataError(MISSING)
  command = ['ffprobe', '-v', 'error', *_restrictions()]
  command += ['-select_streams', 'a:0', '-of', 'json', '-show_entries']
  command += [
    'stream=sample_rate,channels,start_time,duration'
    ':format=format_name,start_time'
  ]
  command += [f'file:{os.fspath(path)}']
  try:
    done = subprocess.run(
      command, capture_output=True, check=False, timeout=_PROBE_TIMEOUT_S
    )
  except subprocess.TimeoutExpired as error:
    raise DataError('ffprobe did not finish within a minute') from error
  try:
    found = json.loads(done.stdout)
    return _info(found['streams'][0], found['format'])
  except (LookupError, TypeError, ValueError) as error:
    raise DataError(_reason(done)) from error


def _info(stream: dict, container: dict) -> AudioInfo:
  rate, channels = int(stream['sample_rate']), int(stream['channels'])
  if rate < 1 or channels < 1:
    raise ValueError('no sample rate')
  formats = container['format_name'].split(',')
  duration_s = float(stream.get('duration', 0))
  start_s = float(stream.get('start_time', 0))
  return AudioInfo(
    rate,
    channels,
    duration_s,
    is_exact=duration_s > 0 and any(x in _EXACT_FORMATS for x in formats),
    reader='ffmpeg',
    start_s=max(0.0, start_s - float(container.get('start_time', 0))),
  )


def _reason(done: subprocess.CompletedProcess) -> str:
  """Returns why ffprobe could not read a file."""
  if b'not on whitelist' in done.stderr:
    return (
      'not audio: its format is not on the whitelist for ffmpeg, which '
      'excludes playlists and other formats that refer to files; convert it, '
      'for example with: ffmpeg -i OLD NEW.flac'
    )
  if done.returncode == 0:
    return 'contains no sound that ffmpeg can decode'
  return 'not audio: neither libsndfile nor ffmpeg can read it'


def _restrictions() -> list[str]:
  return ['-format_whitelist', FORMATS, '-protocol_whitelist', 'file']


def blocks(
  path: str | os.PathLike,
  info: AudioInfo,
  start_s: float,
  duration_s: float | None,
  may_seek: bool,
) -> Iterator[np.ndarray]:
  """Yields consecutive blocks of a file's samples; fewer if it is damaged.

  Args:
    path: a file in any of `FORMATS`.
    info: what `probe` returned for the file.
    start_s: where to start, counted from the first sample.
    duration_s: how much to read; None for all that follows.
    may_seek: whether the container can seek to a time. Otherwise everything
      is decoded, and what comes before `start_s` is dropped.

  Yields:
    f32[n, channels] at the sample rate of `info`.
  """
  command = ['ffmpeg', '-nostdin', '-v', 'error', *_restrictions()]
  to_drop = 0
  if start_s and may_seek:
    command += ['-ss', f'{start_s + info.start_s:.6f}']
  else:
    to_drop = round(start_s * info.sample_rate_hz)
  command += ['-i', f'file:{os.fspath(path)}', '-map', '0:a:0']
  command += ['-ac', f'{info.num_channels}', '-ar', f'{info.sample_rate_hz}']
  command += ['-f', 'f32le', 'pipe:1']
  decoded = _decoded(command, info.num_channels)
  # ffmpeg's -t counts time stamps, which may start late or have gaps.
  num_frames = None
  if duration_s is not None:
    num_frames = round(duration_s * info.sample_rate_hz)
  with contextlib.closing(decoded):
    yield from part(decoded, to_drop, num_frames)


def _decoded(
  command: list[str], num_channels: int
) -> Generator[np.ndarray, None, None]:
  """Runs a command and yields f32[n, channels] blocks of its output."""
  frame_bytes = 4 * num_channels
  wanted_bytes = block_frames(num_channels) * frame_bytes
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
  ) as process:
    assert process.stdout is not None  # it is a pipe
    try:
      while data := _read(process.stdout.fileno(), wanted_bytes):
        whole = len(data) // frame_bytes * frame_bytes
        yield np.frombuffer(data[:whole], '<f4').reshape(-1, num_channels)
    finally:
      process.kill()


def _read(file: int, num_bytes: int) -> bytes:
  """Reads `num_bytes` from a pipe; fewer at its end or after a time-out."""
  parts, missing = [], num_bytes
  while missing and _is_ready(file):
    part = os.read(file, missing)
    if not part:
      break
    parts.append(part)
    missing -= len(part)
  return b''.join(parts)


def _is_ready(file: int) -> bool:
  poll = select.poll()  # select.select rejects file descriptors above 1,023
  poll.register(file, select.POLLIN)
  return bool(poll.poll(_STALL_TIMEOUT_S * 1000))
