"""Reads and writes one field of an audio file's tags with mutagen.

MP3, WAV and AIFF files store it in ID3. A genre in the APEv2 tag of an MP3 or
in the INFO chunk of a WAV is left as it is, because ID3 takes precedence.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import mutagen
from mutagen import apev2, id3, mp3, trueaudio

from mgc_jax.audio.tags import ERRORS, key_of, line, opened
from mgc_jax.collection import placing
from mgc_jax.system.errors import DataError

_ID3V1_BYTES = 128  # at the end of a file; the last byte is the genre
_MAX_CHARACTERS = 10_000  # of a field that can be restored
_ID3_NAMES = {'genre': 'TCON', 'grouping': 'TIT1'}
_LANGUAGE = 'eng'  # of a new comment in ID3
# Their tags are read as ID3 here, and not by the easy interface.
_ID3_FILES = (mp3.MP3, trueaudio.TrueAudio)


@dataclasses.dataclass(frozen=True)
class Field:
  """One field of a file's tags, exactly as the file has it."""

  values: tuple[str, ...]  # empty if the file does not have the field
  id3v1: int | None = None  # the genre number in an ID3v1 tag


def read(path: str, name: str = 'genre') -> Field:
  """Returns a field of a file in a form that `write` can restore.

  Args:
    path: the audio file.
    name: one of `journal.TAG_FIELDS`. Of the comments in ID3, it is the one
      without a description, which players show.

  Raises:
    DataError: its tags cannot be read.
    OSError: the file cannot be read.
  """
  with _translated_errors('read'):
    file = opened(path)
    if isinstance(file, _ID3_FILES):
      number = _id3v1_genre(path) if name == 'genre' else None
      field = Field(_id3_values(_id3_of(path), name), number)
    else:
      field = Field(_values(file, name))
  if sum(map(len, field.values)) > _MAX_CHARACTERS:
    raise DataError(f'its {name} tag is too long to be restored by undo')
  return field


def write(
  path: str,
  field: Field,
  name: str = 'genre',
  before: os.stat_result | None = None,
) -> None:
  """Writes a field of a file's tags.

  A copy is tagged and then replaces the file, so a killed process leaves the
  file as it was. Owner, mode, extended attributes and times are kept if this is
  permitted.

  Args:
    path: the audio file; if it is a link, its target is written.
    field: the new values.
    name: as for `read`.
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
      _write(partial, field, name)
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


def _id3_of(path: str) -> id3.ID3:
  """Returns the ID3v2 tag of a file, as it is; empty if there is none."""
  try:
    return id3.ID3(path, translate=False, load_v1=False)
  except id3.ID3NoHeaderError:
    return id3.ID3()


def _id3_values(tags: id3.ID3, name: str) -> tuple[str, ...]:
  frames = tags.getall(_id3_key(tags, name))
  return tuple(text for frame in frames for text in frame.text)


def _id3_key(tags: id3.ID3, name: str) -> str:
  """Returns the key of a field; of a comment, with its language."""
  if name != 'comment':
    return _ID3_NAMES[name]
  found = [x.HashKey for x in tags.getall('COMM') if not x.desc]
  return min(found, default=f'COMM::{_LANGUAGE}')


def _id3v1_genre(path: str) -> int | None:
  """Returns the genre number of an ID3v1 tag; None without such a tag."""
  content = _id3v1(path)
  return content[-1] if content else None


def _id3v1(path: str) -> bytes:
  """Returns the ID3v1 tag of a file; empty if there is none."""
  with open(path, 'rb') as file:
    start = file.seek(0, os.SEEK_END) - _ID3V1_BYTES
    file.seek(max(start, 0))
    content = file.read()
  return content if start >= 0 and content.startswith(b'TAG') else b''


def _values(file: mutagen.FileType, name: str) -> tuple[str, ...]:
  if file.tags is None:
    return ()
  if isinstance(file.tags, id3.ID3):  # of WAV and AIFF
    return _id3_values(file.tags, name)
  values = file.tags.get(key_of(file.tags, name)) or []
  if isinstance(values, apev2.APEBinaryValue):
    raise ValueError(f'its {name} is not text')
  return tuple(map(str, values))


def _write(path: str, field: Field, name: str) -> None:
  file = opened(path)
  if isinstance(file, _ID3_FILES):
    _write_id3(path, field, name)
    return
  if file.tags is None:
    file.add_tags()
  tags: Any = file.tags  # mutagen declares it as None
  if isinstance(tags, id3.ID3):
    _set_id3(tags, name, field.values, id3.Encoding.UTF8)
  else:
    key = key_of(tags, name)
    if key in tags:
      del tags[key]
    if field.values:
      tags[key] = [*field.values]
  if not tags and isinstance(tags, id3.ID3 | apev2.APEv2):
    file.delete()  # the field was its only one
  else:
    file.save()


def _set_id3(
  tags: id3.ID3, name: str, values: tuple[str, ...], encoding: int
) -> None:
  key = _id3_key(tags, name)
  tags.delall(key)
  if values and name == 'comment':
    language = key.rpartition(':')[2]
    tags.add(
      id3.COMM(encoding=encoding, lang=language, desc='', text=[*values])
    )
  elif values:
    tags.add(getattr(id3, key)(encoding=encoding, text=[*values]))


def _write_id3(path: str, field: Field, name: str) -> None:
  """Writes a field, keeping the tag's ID3 version and all other frames."""
  old_v1 = _id3v1(path)
  try:
    tags = id3.ID3(path, translate=False)
  except id3.ID3NoHeaderError:
    tags = id3.ID3()
  version = 4 if tags.version >= (2, 4) else 3
  encoding = id3.Encoding.UTF8 if version == 4 else id3.Encoding.UTF16
  if all(value.isascii() for value in field.values):
    encoding = id3.Encoding.LATIN1
  _set_id3(tags, name, field.values, encoding)
  if tags or tags.unknown_frames:
    # v23_sep=None keeps several values separate in version 2.3, too.
    tags.save(
      path,
      v2_version=version,
      v23_sep=None,  # pyright: ignore[reportArgumentType]  documented
    )
  else:
    tags.delete(path, delete_v1=False)
  new_v1 = _id3v1(path)
  if old_v1 and new_v1:
    # mutagen also shortens and rewrites the other fields of this tag.
    number = new_v1[-1] if name == 'genre' else old_v1[-1]
    number = number if field.id3v1 is None else field.id3v1
    with open(path, 'r+b') as file:
      file.seek(-_ID3V1_BYTES, os.SEEK_END)
      file.write(old_v1[:-1] + bytes([number]))
