"""Reads an audio file's header and chooses the library that reads all of it."""

import dataclasses
import math
import os
import pathlib
import re

import soundfile

from mgc_jax.audio import ffmpeg, mp4, mpeg, ogg, sndfile
from mgc_jax.audio.info import AudioInfo
from mgc_jax.system.errors import DataError

MAX_DURATION_S = 30 * 24 * 3600.0
_SAMPLE_RATES_HZ = (1000, 1_000_000)
# Placeholders for a size that the program could not know (a pipe, a recorder
# that lost power): 0, 0xFFFFFFFF, and values near 2 or 4 GiB.
_STREAMED_BYTES = 0x7FFF0000
CANNOT_OPEN = 'cannot be opened'  # how the reason of such an error begins
_SIZE_IN_LOG = re.compile(
  r'^\s*(?:data|Data Size|SSND|riff)\s*:\s*(\d+) \(should be (\d+)\)',
  re.MULTILINE,
)


def probe(path: str | os.PathLike, reads_all: bool = True) -> AudioInfo:
  """Reads a file's header.

  Args:
    path: an audio file; its extension does not matter.
    reads_all: whether the file will be read to its end. Only then is a FLAC
      file searched for another one joined to it, which reads the whole file.

  Raises:
    DataError: the file is missing or empty, cannot be opened, or is not audio
      that libsndfile or ffmpeg can read.
  """
  if '\0' in os.fspath(path):
    raise DataError('no such file')
  _check_is_file(pathlib.Path(path))
  try:
    with sndfile.opened(path) as file:
      info = _of_sndfile(file, path, reads_all)
  except sndfile.ERRORS:
    info = None
  if info is None:
    info = dataclasses.replace(ffmpeg.probe(path), is_cut=mp4.is_cut(path))
    return _checked(info)
  if info.reader == 'ffmpeg' and not ffmpeg.is_installed():
    info = dataclasses.replace(
      info,
      reader='sndfile',
      is_exact=False,
      fault='states no length, so libsndfile may have stopped before its end; '
      'install ffmpeg to read all of it',
    )
  return _checked(info)


def _check_is_file(path: pathlib.Path) -> None:
  try:
    if not path.is_file():
      raise DataError('not a file' if path.exists() else 'no such file')
    if path.stat().st_size == 0:
      raise DataError('empty: 0 bytes')
    with path.open('rb') as file:
      file.read(1)
  except OSError as error:
    raise DataError(f'{CANNOT_OPEN}: {error.strerror}') from error


def _checked(info: AudioInfo) -> AudioInfo:
  low, high = _SAMPLE_RATES_HZ
  if not low <= info.sample_rate_hz <= high:
    raise DataError(
      f'damaged: a sample rate of {info.sample_rate_hz} Hz; must be {low} to '
      f'{high} Hz'
    )
  # An impossible length is ignored; decoding will show the real one.
  if not (math.isfinite(info.duration_s) and info.duration_s < MAX_DURATION_S):
    return dataclasses.replace(info, duration_s=0.0, is_exact=False)
  return info


def _of_sndfile(
  file: soundfile.SoundFile, path: str | os.PathLike, reads_all: bool
) -> AudioInfo | None:
  """Returns what libsndfile reports; None if ffmpeg should be used instead."""
  info = AudioInfo(
    file.samplerate,
    file.channels,
    file.frames / file.samplerate if file.samplerate else 0.0,
    is_exact=True,
    reader='sndfile',
  )
  if not (file.frames and file.samplerate):
    return None
  if file.format == 'MP3':
    return _of_mp3(info, path)
  if file.format == 'OGG':
    return _of_ogg(info, path)
  if file.format == 'FLAC':
    has_length = info.duration_s < MAX_DURATION_S
    if not has_length or (reads_all and ogg.is_joined_flac(path)):
      return _with_ffmpeg(info)
    return info
  return _of_sized(info, file.extra_info)


def _with_ffmpeg(info: AudioInfo, duration_s: float = 0.0) -> AudioInfo:
  """Selects ffmpeg, as libsndfile would stop before the end of the file."""
  return dataclasses.replace(
    info, duration_s=duration_s, is_exact=duration_s > 0, reader='ffmpeg'
  )


def _of_mp3(info: AudioInfo, path: str | os.PathLike) -> AudioInfo:
  """Selects ffmpeg if libsndfile would guess the length of an MP3."""
  kind, num_samples = mpeg.stated_samples(path) or ('', 0)
  if kind == 'Xing':
    return info
  return _with_ffmpeg(info, num_samples / info.sample_rate_hz)


def _of_ogg(info: AudioInfo, path: str | os.PathLike) -> AudioInfo:
  """Selects ffmpeg if several streams follow each other."""
  pages = ogg.ogg_pages(path)
  if pages.is_chained:
    info = _with_ffmpeg(info)
  else:
    info = dataclasses.replace(info, is_exact=pages.has_end)
  if not pages.is_cut:
    return info
  fault = 'truncated: ends in the middle of an Ogg page'
  return dataclasses.replace(info, is_exact=False, is_cut=True, fault=fault)


def _of_sized(info: AudioInfo, libsndfile_log: str) -> AudioInfo:
  """Restores the stated length of a truncated WAV, AU or AIFF file.

  libsndfile reports the length of what is there, and logs the stated size.
  """
  found = _SIZE_IN_LOG.search(libsndfile_log)
  if not found:
    return info
  stated, actual = (int(group) for group in found.groups())
  if not actual or stated == 0 or stated >= _STREAMED_BYTES:
    return dataclasses.replace(info, is_exact=False)
  return dataclasses.replace(
    info, duration_s=info.duration_s * max(1.0, stated / actual)
  )
