"""The journals of an index: what `organise` and `tag` did to files.

A line is written before a file is touched, and another one after it, so that
`undo` can take back what was done, and the next command can finish what a
killed process had begun.
"""

import dataclasses
import pathlib
from collections.abc import Iterable

from mgc_jax.collection.state_log import StateLog

METHODS = ('link', 'copy', 'move')


@dataclasses.dataclass(frozen=True)
class Record:
  """A file that `organise` placed."""

  target: str  # the folder that was organised into
  method: str  # of METHODS
  source: str
  to: str
  root: str  # of the source, in the index


class Journal(StateLog[Record]):
  """What `organise` did."""

  def __init__(self, index_path: pathlib.Path):
    """Takes the path of the index; nothing is opened yet."""
    name = f'{index_path.name}.organised.jsonl'
    super().__init__(index_path.with_name(name), _record_of)

  def records(self, target: str | None = None) -> list[Record]:
    """Returns what was done, or begun, and is not undone, in order.

    Args:
      target: a folder that was organised into; None for all.

    Raises:
      DataError: a line is damaged.
    """
    return [r for r in self.active() if target is None or r.target == target]

  def knows(self, target: str) -> bool:
    """Returns whether a folder was ever organised into."""
    return any(record.target == target for record, _ in self.entries())


def _record_of(values: dict) -> Record:
  record = Record(**values)
  if record.method not in METHODS or not _are_texts(values.values()):
    raise ValueError('not a record')
  return record


@dataclasses.dataclass(frozen=True)
class TagRecord:
  """A file whose genre tag `tag` replaced."""

  path: str
  token: str  # of the index
  id: int  # of the track in that index; it stays when the file is moved
  genre: str  # that was written
  old: tuple[str, ...]  # the values of the tag before; empty: there was none
  old_id3v1: int | None  # the genre number of an ID3v1 tag


class TagJournal(StateLog[TagRecord]):
  """What `tag` did."""

  def __init__(self, index_path: pathlib.Path):
    """Takes the path of the index; nothing is opened yet."""
    name = f'{index_path.name}.tagged.jsonl'
    super().__init__(index_path.with_name(name), _tag_record_of)


def _tag_record_of(values: dict) -> TagRecord:
  old, number = values['old'], values['old_id3v1']
  texts = [values['path'], values['token'], values['genre'], *old]
  is_genre_number = number is None or (
    type(number) is int and 0 <= number <= 255
  )
  if not (_are_texts(texts) and is_genre_number and isinstance(old, list)):
    raise ValueError('not a record')
  if type(values['id']) is not int:
    raise ValueError('not a record')
  return TagRecord(**{**values, 'old': tuple(old)})


def _are_texts(values: Iterable[object]) -> bool:
  return all(isinstance(value, str) for value in values)
