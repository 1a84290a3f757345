"""What audio files say of themselves: artist, title, genre (mutagen)."""

import contextlib
import os
import struct

import mutagen
from mutagen import id3, mp3, wave

from mgc_jax.collection import placing
from mgc_jax.errors import DataError

# What mutagen lets through of damaged files.
_ERRORS = (
  mutagen.MutagenError,
  ArithmeticError,
  AssertionError,
  AttributeError,
  LookupError,
  OSError,
  RecursionError,
  TypeError,
  ValueError,
  struct.error,
)
_MAX_CHARACTERS = 300  # of an artist or a title


def read(path: str) -> tuple[str, str]:
  """Returns artist and title; empty where a file does not say.

  Args:
    path: of an audio file, damaged ones too.
  """
  try:
    tags = _opened(path).tags or {}
    return _text(tags, 'artist'), _text(tags, 'title')
  except _ERRORS:  # an answer does not need them
    return '', ''


def genre(path: str) -> str:
  """Returns the genre that a file says it is of; empty where it does not.

  Raises:
    DataError: its tags cannot be read.
  """
  try:
    return _text(_opened(path).tags or {}, 'genre')
  except _ERRORS as error:
    raise DataError(f'its tags cannot be read: {_line(error)}') from error


def write_genre(path: str, genre: str) -> None:
  """Writes a file's genre tag.

  A copy is tagged and then takes the file's place, so a killed process leaves
  the file as it was.

  Args:
    path: of an audio file; of a link the file it leads to.
    genre: in place of what the tag says now.

  Raises:
    DataError: the format has no tags, they are damaged, or the file changed
      meanwhile.
    OSError: the disk is full, or the folder cannot be written.
  """
  real = os.path.realpath(path)
  partial = placing.partial_path(real) + os.path.splitext(real)[1]
  try:
    before = os.stat(real)
    placing.copy_unchanged(real, partial)
    _tag(partial, genre)
    with open(partial, 'rb') as file:
      os.fsync(file.fileno())
    placing.refuse_changed(real, before)
    os.replace(partial, real)
  finally:
    with contextlib.suppress(OSError):
      os.unlink(partial)


def _tag(path: str, genre: str) -> None:
  try:
    file = _opened(path)
    if isinstance(file, mp3.MP3):
      _tag_id3(path, genre)
      return
    if file.tags is None:
      file.add_tags()
    if isinstance(file, wave.WAVE):  # ID3, for which mutagen has no easy names
      file.tags.setall('TCON', [id3.TCON(encoding=3, text=[genre])])
    else:
      file.tags['genre'] = [genre]
    file.save()
  except mutagen.MutagenError as error:
    if isinstance(error.__cause__, OSError):
      raise error.__cause__ from error
    raise DataError(f'its tags cannot be written: {_line(error)}') from error
  except _ERRORS as error:
    if isinstance(error, OSError):
      raise
    raise DataError(f'its tags cannot be written: {_line(error)}') from error


def _tag_id3(path: str, genre: str) -> None:
  """Keeps version and frames of an MP3's tag, unknown ones too."""
  try:
    tags = id3.ID3(path, translate=False)
  except id3.ID3NoHeaderError:
    tags = id3.ID3()
  version = 4 if tags.version >= (2, 4) else 3
  encoding = id3.Encoding.UTF8 if version == 4 else id3.Encoding.UTF16
  if genre.isascii():
    encoding = id3.Encoding.LATIN1
  tags.setall('TCON', [id3.TCON(encoding=encoding, text=[genre])])
  tags.save(path, v2_version=version)


def _opened(path: str | os.PathLike) -> mutagen.FileType:
  if not os.path.isfile(path):  # of a pipe or a device there is no end
    raise ValueError('not a file')
  file = mutagen.File(path, easy=True)
  if file is None:
    raise ValueError('a format without tags')
  return file


def _text(tags: mutagen.Tags, name: str) -> str:
  wave_names = {'artist': 'TPE1', 'title': 'TIT2', 'genre': 'TCON'}
  if isinstance(tags, id3.ID3):
    name = wave_names[name]
  values = tags.get(name) or ['']
  text = ' '.join(str(values[0]).split())
  # What is no character cannot be kept as text.
  return text.encode('utf-8', 'replace').decode()[:_MAX_CHARACTERS]


def _line(error: Exception) -> str:
  return ' '.join(str(error).split())[:200] or type(error).__name__
