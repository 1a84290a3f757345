"""A track of the index, and its row in the database."""

import dataclasses
import os

COLUMNS = (
  'id, path, root, size_bytes, mtime_ns, artist, title, failure, '
  'duration_s, genre, probability'
)
_HEARD = ('duration_s', 'genre', 'probability')


@dataclasses.dataclass(frozen=True)
class Entry:
  """A track of the index."""

  path: str
  root: str  # the folder that was indexed
  size_bytes: int
  mtime_ns: int
  artist: str  # empty if not known
  title: str
  failure: str = ''  # why there is no answer; empty if there is one
  duration_s: float | None = None
  genre: str | None = None
  probability: float | None = None
  id: int = 0  # given by the index

  def is_unchanged(self, found: os.stat_result) -> bool:
    """Returns whether the file is as it was when it was indexed."""
    mtime_ns = int64(found.st_mtime_ns)
    return (found.st_size, mtime_ns) == (self.size_bytes, self.mtime_ns)


class Answered(Entry):
  """A track that has an answer."""

  duration_s: float
  genre: str
  probability: float


def int64(number: int) -> int:
  """Limits a number to what SQLite can store; a file may have any date."""
  return max(-(2**63), min(number, 2**63 - 1))


def entry_of(row: tuple) -> Entry:
  """Returns the entry of a row.

  Args:
    row: the values of `COLUMNS`.

  Raises:
    ValueError: no version of this package writes such a row.
  """
  values = dict(zip(COLUMNS.split(', '), row, strict=True))
  heard = [type(values[name]) for name in _HEARD]
  if not isinstance(values['path'], bytes) or (
    not values['failure'] and heard != [float, str, float]
  ):
    raise ValueError('a row that no version of this package writes')
  for name in ('path', 'root'):
    values[name] = os.fsdecode(values[name])
  return Entry(**values) if values['failure'] else Answered(**values)
