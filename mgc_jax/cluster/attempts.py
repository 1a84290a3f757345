"""Counts which item of a part a process was working on when it was killed."""

import json
import os
import pathlib

MAX_ATTEMPTS = 3
KILLED = (
  f'skipped: {MAX_ATTEMPTS} worker processes were killed while they decoded it'
)


class Attempts:
  """The items of a part that killed their process, in a file beside the part.

  An attempt is counted before work on an item starts, and the count is removed
  when the item is finished. So the counts that remain are those of items that
  were never finished.
  """

  def __init__(self, part: str | os.PathLike):
    """Reads the counts that earlier processes left.

    Args:
      part: the path of the part's file.
    """
    self._path = pathlib.Path(f'{os.fspath(part)}.attempts')
    self._counts: dict[str, int] = {}
    try:
      found = json.loads(self._path.read_bytes())
      self._counts = {str(name): int(found[name]) for name in found}
    except (OSError, ValueError, TypeError):
      pass  # the first process, or one that was killed while it wrote
    self._current = ''

  def begin(self, number: int) -> bool:
    """Marks the previous item as finished, and counts an attempt for another.

    Args:
      number: the position of the item in the part.

    Returns:
      False if the item has killed too many processes and must be skipped.
    """
    self._counts.pop(self._current, None)
    self._current = ''
    name = str(number)
    if self._counts.get(name, 0) >= MAX_ATTEMPTS:
      return False
    self._current = name
    self._counts[name] = self._counts.get(name, 0) + 1
    # Without a flush to the disk: only the process is expected to die.
    self._path.write_text(json.dumps(self._counts))
    return True

  def end(self) -> None:
    """Removes the file, because the part is complete."""
    self._path.unlink(missing_ok=True)
