"""What audio files say of themselves: artist, title, genre (mutagen)."""

import os
import struct

import mutagen
from mutagen import id3

from mgc_jax.errors import DataError

# What mutagen lets through of damaged files.
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
_MAX_CHARACTERS = 300  # of an artist or a title


def read(path: str) -> tuple[str, str]:
  """Returns artist and title; empty where a file does not say.

  Args:
    path: of an audio file, damaged ones too.
  """
  try:
    tags = opened(path).tags or {}
    return _text(tags, 'artist'), _text(tags, 'title')
  except ERRORS:  # an answer does not need them
    return '', ''


def genre(path: str) -> str:
  """Returns the genre that a file says it is of; empty where it does not.

  Args:
    path: of an audio file.

  Raises:
    DataError: its tags cannot be read.
  """
  try:
    return _text(opened(path).tags or {}, 'genre')
  except ERRORS as error:
    raise DataError(f'its tags cannot be read: {line(error)}') from error


def opened(path: str | os.PathLike) -> mutagen.FileType:
  """Opens a file as mutagen does, its tags by their easy names.

  Raises:
    Any of `ERRORS`: it is no file, or has no tags that can be read.
  """
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


def line(error: Exception) -> str:
  """Returns what an error of `ERRORS` says, short and on one line."""
  return ' '.join(str(error).split())[:200] or type(error).__name__
