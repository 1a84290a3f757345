"""A journal: JSON lines that say what was begun and what is done.

The file lies beside the index and not in a folder of music: a folder of
somebody else's cannot bring a journal that `undo` would obey.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from mgc_jax.system.errors import DataError

if TYPE_CHECKING:
  from _typeshed import DataclassInstance

_STATES = ('begun', 'done', 'undoing', 'undone')
RecordT = TypeVar('RecordT', bound='DataclassInstance')


class StateLog(Generic[RecordT]):
  """Records and their states, in the order in which they were written."""

  def __init__(self, path: pathlib.Path, record_of: Callable[[dict], RecordT]):
    """Takes the path; nothing is opened yet.

    Args:
      path: of the file, which need not exist.
      record_of: makes a hashable dataclass of the values of a line. It raises
        LookupError, TypeError or ValueError if they are not a record.
    """
    self.path = path
    self._record_of = record_of

  def active(self) -> list[RecordT]:
    """Returns what was done, or begun, and is not undone, in order.

    Raises:
      DataError: a line is damaged.
    """
    found: dict[RecordT, None] = {}
    for record, state in self.entries():
      found.setdefault(record)
      if state == 'undone':
        del found[record]
    return list(found)

  def unfinished(self) -> tuple[RecordT, str] | None:
    """Returns what a killed process was working on.

    Returns:
      The record and its state, begun or undoing; None if nothing was left
      unfinished.

    Raises:
      DataError: a line is damaged.
    """
    last = None
    for entry in self.entries():
      last = entry
    return last if last and last[1] in ('begun', 'undoing') else None

  def entries(self) -> Iterator[tuple[RecordT, str]]:
    """Yields each line's record and state.

    Raises:
      DataError: a line is damaged.
    """
    for number, line in enumerate(self._lines(), start=1):
      try:
        values = json.loads(line)
        state = values.pop('state')
        if state not in _STATES:
          raise ValueError('not a state')
        record = self._record_of(values)
      except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
          f'{self.path}: line {number} is damaged; nothing was done. Repair '
          'it, or move the file away: then undo cannot take back what is in it'
        ) from error
      yield record, state

  def _lines(self) -> Iterator[str]:
    """Yields whole lines; a kill may have cut the last one."""
    try:
      with self.path.open(encoding='utf-8', errors='strict') as file:
        for line in file:
          if line.endswith('\n'):
            yield line
    except FileNotFoundError:
      return
    except (OSError, UnicodeDecodeError) as error:
      raise DataError(f'{self.path}: cannot be read: {error}') from error

  def write(self, record: RecordT, state: str) -> None:
    """Adds a line.

    Args:
      record: what the line is about.
      state: begun or undoing, which are on the disk when this returns; done or
        undone, which a crash of the machine may lose.

    Raises:
      OSError: it cannot be written.
    """
    values = {'state': state, **dataclasses.asdict(record)}
    line = json.dumps(values).encode() + b'\n'
    with self.path.open('ab+') as file:
      _cut_rest(file)
      file.write(line)
      file.flush()
      if state in ('begun', 'undoing'):
        os.fsync(file.fileno())


def _cut_rest(file: BinaryIO) -> None:
  """Removes the part of a line that a killed process left."""
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
