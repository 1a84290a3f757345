"""Reads artist, title and genre from the tags of audio files (mutagen).

A file may have several tags. ID3 takes precedence over APEv2 in an MP3 and over
the INFO chunk in a WAV; each field is looked up independently.
"""

import io
import itertools
import os
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import mutagen
from mutagen import apev2, asf, id3, mp3, wave

from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import is_shown

# What mutagen may raise for damaged files.
ERRORS = (
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
_MAX_CHARACTERS = 300  # in an artist, a title or a genre
_MAX_VALUES = 100  # of one field
_ID3_NAMES = {'artist': 'TPE1', 'title': 'TIT2', 'genre': 'TCON'}
_ASF_NAMES = {
  'artist': 'Author',
  'title': 'Title',
  'genre': 'WM/Genre',
  'grouping': 'WM/ContentGroupDescription',
  'comment': 'Description',
}
_INFO_NAMES = {'IART': 'artist', 'INAM': 'title', 'IGNR': 'genre'}
_MAX_INFO_BYTES = 1 << 20
_MAX_CHUNKS = 1000  # a damaged header could claim millions
_Tags = Mapping | apev2.APEv2  # APEv2 is not a Mapping, but has its methods


def read(path: str) -> tuple[str, str]:
  """Returns artist and title; empty if the tags lack them.

  Args:
    path: an audio file, which may be damaged.
  """
  found = {'artist': '', 'title': ''}
  try:
    for tags in _tags_of(path):
      for name, text in found.items():
        found[name] = text or ''.join(_values(tags, name)[:1])
      if all(found.values()):
        break
  except ERRORS:  # artist and title are optional
    pass
  return found['artist'], found['title']


def genre(path: str) -> str:
  """Returns the first genre of a file; empty if its tags have none.

  Args:
    path: an audio file.

  Raises:
    DataError: the tags cannot be read.
  """
  return ''.join(genres(path)[:1])


def genres(path: str) -> list[str]:
  """Returns all genres in the first tag of a file that has any.

  Args:
    path: an audio file.

  Raises:
    DataError: the tags cannot be read.
  """
  try:
    every = (_values(tags, 'genre') for tags in _tags_of(path))
    return next(filter(None, every), [])
  except ERRORS as error:
    raise DataError(f'the tags cannot be read: {line(error)}') from error


def opened(path: str | os.PathLike) -> mutagen.FileType:
  """Opens a file with mutagen's easy interface, if its format has one.

  Raises:
    Any of `ERRORS`: it is not a file, or its tags cannot be read.
  """
  if not os.path.isfile(path):  # reading a pipe or a device might never end
    raise ValueError('not a file')
  file = mutagen.File(path, easy=True)
  if file is None:
    raise ValueError('a format without tags')
  return file


def key_of(tags: _Tags, name: str) -> str:
  """Returns the key under which tags store a field.

  Args:
    tags: the tags of a file that `opened` returned.
    name: artist, title or genre; in tags other than ID3 also grouping or
      comment.
  """
  if isinstance(tags, id3.ID3):  # WAV and AIFF, which have no easy interface
    return _ID3_NAMES[name]
  return _ASF_NAMES[name] if isinstance(tags, asf.ASFTags) else name


def _tags_of(path: str) -> Iterator[_Tags]:
  """Yields the tags of a file, in order of precedence."""
  file = opened(path)
  yield {} if file.tags is None else file.tags
  if isinstance(file, mp3.MP3):
    try:
      yield apev2.APEv2(path)
    except apev2.APENoHeaderError:
      return
  elif isinstance(file, wave.WAVE):
    yield _riff_info(path)


def _values(tags: _Tags, name: str) -> list[str]:
  """Returns the non-empty texts of a field, each on one line."""
  values = tags.get(key_of(tags, name)) or []
  if isinstance(values, id3.TCON):
    values = values.genres  # resolves numbers, such as (17), to names
  elif isinstance(values, apev2.APEBinaryValue):
    values = []
  texts = (
    _clean(str(value)) for value in itertools.islice(values, 0, _MAX_VALUES)
  )
  return [text for text in texts if text]


def _clean(text: str) -> str:
  """Returns a text on one line; Unicode spaces are not changed."""
  # A lone surrogate cannot be encoded.
  text = text.encode('utf-8', 'replace').decode()
  shown = ''.join(c if is_shown(c) else ' ' for c in text)
  return ' '.join(filter(None, shown.split(' ')))[:_MAX_CHARACTERS].strip()


def _riff_info(path: str) -> dict[str, list[str]]:
  """Returns the fields of the INFO chunk of a WAV file.

  libsndfile reads them too, but drops letters that are not UTF-8, and many
  Windows programs write cp1252.
  """
  found: dict[str, list[str]] = {}
  with open(path, 'rb') as file:
    file.seek(12)  # after RIFF, its size, and WAVE
    for name, size in _chunks(file):
      if name != b'LIST' or file.read(4) != b'INFO':
        continue
      content = io.BytesIO(file.read(min(max(size - 4, 0), _MAX_INFO_BYTES)))
      for key, length in _chunks(content):
        field = _INFO_NAMES.get(key.decode('latin-1').upper())
        if field:
          found.setdefault(field, [_info_text(content.read(length))])
  return found


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
  """Yields name and size of each RIFF chunk, with the file at its content."""
  start = file.tell()
  for _ in range(_MAX_CHUNKS):
    file.seek(start)
    header = file.read(8)
    if len(header) < 8:
      return
    name, size = struct.unpack('<4sI', header)
    yield name, size
    start += 8 + size + size % 2


def _info_text(content: bytes) -> str:
  content = content.partition(b'\0')[0]
  try:
    return content.decode()
  except UnicodeDecodeError:
    return content.decode('cp1252', 'replace')


def line(error: Exception) -> str:
  """Returns the message of one of `ERRORS`, shortened, on one line."""
  return ' '.join(str(error).split())[:200] or type(error).__name__
