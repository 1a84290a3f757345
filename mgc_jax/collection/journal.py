"""The journals of an index: what `organise` and `tag` did to files.

A line is written before and after each change to a file. So `undo` can revert
the changes, and the next command can finish one that a killed process started.
"""

import dataclasses
import pathlib
from collections.abc import Iterable

from mgc_jax.collection.state_log import StateLog

METHODS = ('link', 'copy', 'move')
TAG_FIELDS = ('genre', 'grouping', 'comment')


@dataclasses.dataclass(frozen=True)
class Record:
  """A file that `organise` linked, copied or moved."""

  target: str  # the folder that was organised into
  method: str  # one of METHODS
  source: str  # the file's path before
  to: str  # its new path
  root: str  # the indexed folder of the source


class Journal(StateLog[Record]):
  """The journal of `organise`."""

  def __init__(self, index_path: pathlib.Path):
    """Derives the journal's path from the index's; opens nothing yet."""
    name = f'{index_path.name}.organised.jsonl'
    super().__init__(index_path.with_name(name), _parse_record)

  def records(self, target: str | None = None) -> list[Record]:
    """Returns the records that were started or done but not undone, in order.

    Args:
      target: a folder that was organised into; None for all.

    Raises:
      DataError: a line is damaged.
    """
    return [r for r in self.active() if target is None or r.target == target]

  def knows(self, target: str) -> bool:
    """Returns whether this folder was ever organised into."""
    return any(record.target == target for record, _ in self.entries())


def _parse_record(values: dict) -> Record:
  record = Record(**values)
  if record.method not in METHODS or not _are_strings(values.values()):
    raise ValueError('not a record')
  return record


@dataclasses.dataclass(frozen=True)
class TagRecord:
  """A file of which `tag` replaced a field."""

  path: str
  token: str  # identifies the index
  id: int  # the track's id in that index, which a move does not change
  genre: str  # the genre that was written
  old: tuple[str, ...]  # the field's values before; empty if there were none
  old_id3v1: int | None  # the genre number in an ID3v1 tag before
  field: str = 'genre'  # one of TAG_FIELDS; older journals have no other


class TagJournal(StateLog[TagRecord]):
  """The journal of `tag`."""

  def __init__(self, index_path: pathlib.Path):
    """Derives the journal's path from the index's; opens nothing yet."""
    name = f'{index_path.name}.tagged.jsonl'
    super().__init__(index_path.with_name(name), _parse_tag_record)


def _parse_tag_record(values: dict) -> TagRecord:
  old, number = values['old'], values['old_id3v1']
  strings = [values['path'], values['token'], values['genre'], *old]
  is_genre_number = number is None or (
    type(number) is int and 0 <= number <= 255
  )
  if not (_are_strings(strings) and is_genre_number and isinstance(old, list)):
    raise ValueError('not a record')
  field = values.get('field', 'genre')
  if type(values['id']) is not int or field not in TAG_FIELDS:
    raise ValueError('not a record')
  return TagRecord(**{**values, 'old': tuple(old)})


def _are_strings(values: Iterable[object]) -> bool:
  return all(isinstance(value, str) for value in values)
