"""Reads and writes the genre tag of an audio file with mutagen.

MP3, WAV and AIFF files store it in ID3. A genre in the APEv2 tag of an MP3 or
in the INFO chunk of a WAV is left as it is, because ID3 takes precedence.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import mutagen
from mutagen import apev2, id3, mp3

from mgc_jax.audio.tags import ERRORS, key_of, line, opened
from mgc_jax.collection import placing
from mgc_jax.system.errors import DataError

_ID3V1_BYTES = 128  # at the end of a file; the last byte is the genre
_MAX_CHARACTERS = 10_000  # of a genre tag that can be restored


@dataclasses.dataclass(frozen=True)
class GenreTag:
  """The genre tag of a file, exactly as the file has it."""

  values: tuple[str, ...]  # empty if the file has no genre tag
  id3v1: int | None = None  # the genre number in an ID3v1 tag


def read(path: str) -> GenreTag:
  """Returns the genre tag of a file in a form that `write` can restore.

  Args:
    path: the audio file.

  Raises:
    DataError: its tags cannot be read.
    OSError: the file cannot be read.
  """
  with _translated_errors('read'):
    file = opened(path)
    if isinstance(file, mp3.MP3):
      tag = GenreTag(_id3_values(path), _id3v1_genre(path))
    else:
      tag = GenreTag(_values(file))
  if sum(map(len, tag.values)) > _MAX_CHARACTERS:
    raise DataError('its genre tag is too long to be restored by undo')
  return tag


def write_genre(
  path: str, genre: str, before: os.stat_result | None = None
) -> None:
  """Replaces a file's genre tag with one genre, as `write` does."""
  write(path, GenreTag((genre,)), before)


def write(
  path: str, tag: GenreTag, before: os.stat_result | None = None
) -> None:
  """Writes a file's genre tag.

  A copy is tagged and then replaces the file, so a killed process leaves the
  file as it was. Owner, mode, extended attributes and times are kept if this is
  permitted.

  Args:
    path: the audio file; if it is a link, its target is written.
    tag: the new tag.
    before: the file's state when the caller first looked at it, with the times
      to restore; by default the present state.

  Raises:
    DataError: the format has no tags, they are damaged, or the file changed
      while it was copied.
    OSError: the disk is full, or the folder cannot be written to.
  """
  real = os.path.realpath(path)
  partial = _partial_path(real)
  before = before or os.stat(real)
  try:
    placing.copy_unchanged(real, partial)
    with _translated_errors('written'):
      _write(partial, tag)
    with open(partial, 'rb') as file:
      os.fsync(file.fileno())
    placing.keep_attributes(real, partial, before)
    placing.check_unchanged(real, before)
    os.replace(partial, real)
  finally:
    remove_partial(path)


def remove_partial(path: str) -> None:
  """Removes the partial copy that a killed process left beside a file."""
  with contextlib.suppress(OSError):
    os.unlink(_partial_path(os.path.realpath(path)))


def _partial_path(real: str) -> str:
  return placing.partial_path(real) + os.path.splitext(real)[1]


@contextlib.contextmanager
def _translated_errors(verb: str) -> Iterator[None]:
  """Raises a `DataError` for mutagen's errors, but keeps any `OSError`."""
  try:
    yield
  except ERRORS as error:
    if isinstance(error, OSError):
      raise
    if isinstance(error.__cause__, OSError):
      raise error.__cause__ from error
    raise DataError(f'its tags cannot be {verb}: {line(error)}') from error


def _id3_values(path: str) -> tuple[str, ...]:
  try:
    tags = id3.ID3(path, translate=False, load_v1=False)
  except id3.ID3NoHeaderError:
    return ()
  return tuple(x for frame in tags.getall('TCON') for x in frame.text)


def _id3v1_genre(path: str) -> int | None:
  """Returns the genre number of an ID3v1 tag; None without such a tag."""
  with open(path, 'rb') as file:
    start = file.seek(0, os.SEEK_END) - _ID3V1_BYTES
    file.seek(max(start, 0))
    content = file.read()
  return content[-1] if start >= 0 and content.startswith(b'TAG') else None


def _values(file: mutagen.FileType) -> tuple[str, ...]:
  if file.tags is None:
    return ()
  values = file.tags.get(key_of(file.tags, 'genre')) or []
  if isinstance(values, apev2.APEBinaryValue):
    raise ValueError('its genre is not text')
  return tuple(map(str, values))


def _write(path: str, tag: GenreTag) -> None:
  file = opened(path)
  if isinstance(file, mp3.MP3):
    _write_id3(path, tag)
    return
  if file.tags is None:
    file.add_tags()
  tags: Any = file.tags  # mutagen declares it as None
  key = key_of(tags, 'genre')
  if key in tags:
    del tags[key]
  if tag.values and isinstance(tags, id3.ID3):
    tags.add(id3.TCON(encoding=id3.Encoding.UTF8, text=[*tag.values]))
  elif tag.values:
    tags[key] = [*tag.values]
  if not tags and isinstance(tags, id3.ID3 | apev2.APEv2):
    file.delete()  # the genre was its only tag
  else:
    file.save()


def _write_id3(path: str, tag: GenreTag) -> None:
  """Writes the genre, keeping the tag's ID3 version and all other frames."""
  try:
    tags = id3.ID3(path, translate=False)
  except id3.ID3NoHeaderError:
    tags = id3.ID3()
  version = 4 if tags.version >= (2, 4) else 3
  encoding = id3.Encoding.UTF8 if version == 4 else id3.Encoding.UTF16
  if all(value.isascii() for value in tag.values):
    encoding = id3.Encoding.LATIN1
  tags.delall('TCON')
  if tag.values:
    tags.add(id3.TCON(encoding=encoding, text=[*tag.values]))
  if tags or tags.unknown_frames:
    # v23_sep=None keeps several values separate in version 2.3, too.
    tags.save(
      path,
      v2_version=version,
      v23_sep=None,  # pyright: ignore[reportArgumentType]  documented
    )
  else:
    tags.delete(path, delete_v1=False)
  if tag.id3v1 is not None:
    _write_id3v1_genre(path, tag.id3v1)


def _write_id3v1_genre(path: str, number: int) -> None:
  if _id3v1_genre(path) is not None:
    with open(path, 'r+b') as file:
      file.seek(-1, os.SEEK_END)
      file.write(bytes([number]))
