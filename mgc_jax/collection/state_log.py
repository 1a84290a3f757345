"""An append-only journal: JSON lines of what was started, done and undone.

The file is in the folder of the index and not in a music folder, so that a
folder from somebody else cannot contain a journal that `undo` would follow.
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

_STATES = ('started', 'done', 'undoing', 'undone')
_OLD_STATES = {'begun': 'started'}  # as older versions wrote them
RecordT = TypeVar('RecordT', bound='DataclassInstance')


class StateLog(Generic[RecordT]):
  """Records and their states, in the order in which they were written."""

  def __init__(
    self, path: pathlib.Path, parse_record: Callable[[dict], RecordT]
  ):
    """Stores the arguments; opens nothing yet.

    Args:
      path: the journal's file, which need not exist.
      parse_record: converts the values of a line to a hashable dataclass. It
        raises LookupError, TypeError or ValueError if they are invalid.
    """
    self.path = path
    self._parse_record = parse_record

  def active(self) -> list[RecordT]:
    """Returns the records that were started or done but not undone, in order.

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
    """Returns the record that a killed process was working on.

    Returns:
      The record and its state, `started` or `undoing`; None if nothing is
      unfinished.

    Raises:
      DataError: a line is damaged.
    """
    last = None
    for entry in self.entries():
      last = entry
    return last if last and last[1] in ('started', 'undoing') else None

  def entries(self) -> Iterator[tuple[RecordT, str]]:
    """Yields the record and state of each line.

    Raises:
      DataError: a line is damaged.
    """
    for number, line in enumerate(self._lines(), start=1):
      try:
        values = json.loads(line)
        state = values.pop('state')
        state = _OLD_STATES.get(state, state)
        if state not in _STATES:
          raise ValueError('not a state')
        record = self._parse_record(values)
      except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
          f'{self.path}: line {number} is damaged; nothing was done. Repair it '
          'or move the file away; undo can then not revert what it records'
        ) from error
      yield record, state

  def _lines(self) -> Iterator[str]:
    """Yields complete lines; a killed process may have left a partial one."""
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
    """Appends a line.

    Args:
      record: what is being changed.
      state: `started` or `undoing`, which are on the disk when this returns, or
        `done` or `undone`, which may be lost if the machine crashes.

    Raises:
      OSError: it cannot be written.
    """
    values = {'state': state, **dataclasses.asdict(record)}
    line = json.dumps(values).encode() + b'\n'
    with self.path.open('ab+') as file:
      _remove_partial_line(file)
      file.write(line)
      file.flush()
      if state in ('started', 'undoing'):
        os.fsync(file.fileno())


def _remove_partial_line(file: BinaryIO) -> None:
  """Removes the partial last line that a killed process left."""
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
