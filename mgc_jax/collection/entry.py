"""An indexed track and its row in the database."""

import dataclasses
import os

COLUMNS = (
  'id, path, root, size_bytes, mtime_ns, artist, title, failure, '
  'duration_s, genre, probability'
)
_PREDICTION = ('duration_s', 'genre', 'probability')


@dataclasses.dataclass(frozen=True)
class Entry:
  """An indexed track."""

  path: str
  root: str  # the folder that was indexed
  size_bytes: int
  mtime_ns: int
  artist: str  # empty if unknown
  title: str
  failure: str = ''  # why the track has no prediction; empty if it has one
  duration_s: float | None = None
  genre: str | None = None
  probability: float | None = None
  id: int = 0  # assigned by the index

  def is_unchanged(self, stat: os.stat_result) -> bool:
    """Returns whether the file still has the size and time that it had."""
    mtime_ns = int64(stat.st_mtime_ns)
    return (stat.st_size, mtime_ns) == (self.size_bytes, self.mtime_ns)


class ClassifiedEntry(Entry):
  """An indexed track that has a prediction."""

  duration_s: float
  genre: str
  probability: float


def int64(number: int) -> int:
  """Clips a number to what SQLite can store; a file may have any date."""
  return max(-(2**63), min(number, 2**63 - 1))


def entry_from_row(row: tuple) -> Entry:
  """Converts a database row to an entry.

  Args:
    row: the values of `COLUMNS`.

  Raises:
    ValueError: a value has the wrong type.
  """
  values = dict(zip(COLUMNS.split(', '), row, strict=True))
  types = [type(values[name]) for name in _PREDICTION]
  if not isinstance(values['path'], bytes) or (
    not values['failure'] and types != [float, str, float]
  ):
    raise ValueError('a row that no version of this package writes')
  for name in ('path', 'root'):
    values[name] = os.fsdecode(values[name])
  return Entry(**values) if values['failure'] else ClassifiedEntry(**values)
