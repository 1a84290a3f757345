"""Writes the genre that an audio file says it is of (mutagen)."""

import contextlib
import os

import mutagen
from mutagen import id3, mp3, wave

from mgc_jax.audio.tags import ERRORS, line, opened
from mgc_jax.collection import placing
from mgc_jax.errors import DataError


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
    file = opened(path)
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
    raise DataError(f'its tags cannot be written: {line(error)}') from error
  except ERRORS as error:
    if isinstance(error, OSError):
      raise
    raise DataError(f'its tags cannot be written: {line(error)}') from error


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
