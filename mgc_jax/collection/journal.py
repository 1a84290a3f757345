"""What `organise` does, a line before each step and one after it.

The file lies beside the index and not in the folder that was organised: a
folder of somebody else's cannot bring a journal that `undo` would obey.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from mgc_jax.errors import DataError

METHODS = ('link', 'copy', 'move')
_STATES = ('begun', 'done', 'undoing', 'undone')


@dataclasses.dataclass(frozen=True)
class Record:
  """One file in its new place."""

  target: str  # the folder that was organised into
  method: str  # of METHODS
  source: str
  to: str
  root: str  # of the source, in the index


class Journal:
  """The journal of an index."""

  def __init__(self, index_path: pathlib.Path):
    """Takes the path of the index; nothing is opened yet."""
    self.path = index_path.with_name(f'{index_path.name}.organised.jsonl')

  def records(self, target: str | None = None) -> list[Record]:
    """Returns what was done, or begun, and is not undone, in order.

    Args:
      target: only of this folder.

    Raises:
      DataError: a line is damaged.
    """
    found: dict[Record, None] = {}
    for record, state in self._entries():
      found.setdefault(record)
      if state == 'undone':
        del found[record]
    return [r for r in found if target is None or r.target == target]

  def knows(self, target: str) -> bool:
    """Returns whether a folder was ever organised into."""
    return any(record.target == target for record, _ in self._entries())

  def unfinished(self) -> tuple[Record, str] | None:
    """Returns what a killed process was at: a record, begun or undoing."""
    last = None
    for entry in self._entries():
      last = entry
    return last if last and last[1] in ('begun', 'undoing') else None

  def _entries(self) -> Iterator[tuple[Record, str]]:
    for number, line in enumerate(self._lines(), start=1):
      try:
        values = json.loads(line)
        state = values.pop('state')
        record = Record(**values)
        kinds = {type(value) for value in values.values()}
        if record.method not in METHODS or state not in _STATES:
          raise ValueError('no record')
        if kinds != {str}:
          raise ValueError('no record')
      except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
          f'{self.path}: line {number} is damaged; nothing was done. Mend it, '
          'or move the file away: then nothing of it can be undone by undo'
        ) from error
      yield record, state

  def _lines(self) -> Iterator[str]:
    """Yields whole lines; the last may have been cut by a kill."""
    try:
      with self.path.open(encoding='utf-8', errors='strict') as file:
        for line in file:
          if line.endswith('\n'):
            yield line
    except FileNotFoundError:
      return
    except (OSError, UnicodeDecodeError) as error:
      raise DataError(f'{self.path}: cannot be read: {error}') from error

  def write(self, record: Record, state: str) -> None:
    """Adds a line.

    Args:
      record: a file and its places.
      state: begun or undoing, which are on the disk when this returns; done or
        undone, which a killed process leaves behind, too.

    Raises:
      OSError: it cannot be written.
    """
    values = {'state': state, **dataclasses.asdict(record)}
    line = json.dumps(values).encode() + b'\n'
    with self.path.open('ab+') as file:
      self._cut_rest(file)
      file.write(line)
      file.flush()
      if state in ('begun', 'undoing'):
        os.fsync(file.fileno())

  def _cut_rest(self, file: BinaryIO) -> None:
    """Removes what a killed process left of a line."""
    end = file.seek(0, os.SEEK_END)
    if not end:
      return
    file.seek(end - 1)
    if file.read(1) == b'\n':
      return
    start = end
    tail = b''
    while start and b'\n' not in tail:
      step = min(4096, start)
      start -= step
      file.seek(start)
      tail = file.read(step) + tail
    file.truncate(start + tail.rfind(b'\n') + 1)
