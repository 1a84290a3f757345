"""Waits for changes of the audio files in folders (watchdog)."""

# The type checker may run without the extra.
# pyright: reportMissingImports=false

import contextlib
import dataclasses
import errno
import os
import threading
from collections.abc import Iterator, Sequence

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from mgc_jax.audio.files import is_audio
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

_SETTLED_S = 2.0  # without a change: files are copied one after another
_AT_MOST_S = 60.0  # after the first change, even if more follow
# Reading a file causes other events, which are not changes.
_CHANGES = ('created', 'modified', 'moved', 'deleted', 'closed')


@dataclasses.dataclass
class Change:
  """What has changed since the last time.

  Attributes:
    paths: audio files and folders that were added, changed or deleted.
    renamed: folders with their old and new paths, in order.
  """

  paths: set[str] = dataclasses.field(default_factory=set)
  renamed: list[tuple[str, str]] = dataclasses.field(default_factory=list)


class Changes(FileSystemEventHandler):
  """Collects the changes of audio files, and waits for them."""

  def __init__(self):
    """Starts without any."""
    self._changed = threading.Condition()
    self._found = Change()

  def dispatch(self, event: FileSystemEvent) -> None:
    """Notes one event; called in a thread of watchdog.

    Args:
      event: of a file or folder anywhere in the watched folders.
    """
    paths = [os.fsdecode(x) for x in (event.src_path, event.dest_path) if x]
    if event.is_directory:
      # A folder is also modified by each file in it.
      is_relevant = event.event_type in ('moved', 'deleted', 'created')
    else:
      is_relevant = any(map(is_audio, paths))
    if is_relevant and event.event_type in _CHANGES:
      with self._changed:
        self._found.paths.update(paths)
        if event.is_directory and len(paths) == 2:
          self._found.renamed.append((paths[0], paths[1]))
        self._changed.notify()

  def wait(self, timeout_s: float | None = None) -> Change:
    """Waits for a change, and until no more follow for two seconds.

    Args:
      timeout_s: how long to wait for the first change; None: no limit.

    Returns:
      What has changed; nothing after the timeout.
    """
    with self._changed:
      self._changed.wait_for(lambda: self._found.paths, timeout_s)
      if not self._found.paths:
        return Change()
      rest_s = _AT_MOST_S
      while rest_s > 0 and self._changed.wait(min(_SETTLED_S, rest_s)):
        rest_s -= _SETTLED_S
      found, self._found = self._found, Change()
      return found


@contextlib.contextmanager
def watching(folders: Sequence[str]) -> Iterator[Changes]:
  """Watches folders and their subfolders during the block.

  Args:
    folders: existing folders. Changes that another computer makes to a network
      folder are not seen.

  Yields:
    What has changed.

  Raises:
    DataError: a folder cannot be watched.
  """
  observer, changes = Observer(), Changes()
  try:
    for folder in folders:
      observer.schedule(changes, folder, recursive=True)
    observer.start()
  except OSError as error:
    reason = error.strerror
    if error.errno in (errno.ENOSPC, errno.EMFILE):
      reason = (
        'it has more subfolders than this system can watch; raise '
        'fs.inotify.max_user_watches, or run index without --watch'
      )
    names = ', '.join(map(printable, folders))
    raise DataError(f'{names}: cannot be watched: {reason}') from error
  try:
    yield changes
  finally:
    observer.stop()
    observer.join()
