"""Indexed folders that are missing or empty now, or that were renamed.

A disk that is not mounted looks like a folder whose files were deleted. So a
track is removed from the index only if its own folder still has files.
Otherwise it is kept, and the folder is reported.
"""

import os
import shlex
import sys
from collections.abc import Iterator

from mgc_jax.audio.files import is_inside
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.printable_text import printable


class Folders:
  """Finds out which folders have files, looking at each folder once."""

  def __init__(self):
    """Starts without any knowledge."""
    self._has_file: dict[str, bool] = {}

  def has_file(self, folder: str) -> bool:
    """Returns whether a folder or one of its subfolders has any file.

    Args:
      folder: its path. A folder that is missing or cannot be read counts as
        having none.
    """
    real = os.path.realpath(folder)
    if real not in self._has_file:
      self._has_file[real] = False  # ends the recursion if links form a loop
      self._has_file[real] = self._search(real)
    return self._has_file[real]

  def _search(self, folder: str) -> bool:
    try:
      with os.scandir(folder) as items:
        folders = []
        for item in items:
          if os.path.isdir(item.path):
            folders.append(item.path)
          elif os.path.exists(item.path):  # false for a broken link
            return True
    except OSError:
      return False
    return any(map(self.has_file, folders))

  def highest_empty(self, path: str, root: str) -> str | None:
    """Returns the highest folder above a file that is missing or empty.

    Args:
      path: a file in `root`.
      root: the absolute path at which to start.

    Returns:
      A folder; None if the file's own folder has other files.
    """
    folder = root
    for name in os.path.relpath(os.path.dirname(path), root).split(os.sep):
      folder = os.path.normpath(os.path.join(folder, name))
      if not self.has_file(folder):
        return folder
    return None


def find_deleted(index: Index, root: str) -> tuple[list[Entry], dict[str, int]]:
  """Finds the tracks of a folder whose files no longer exist.

  Args:
    index: the index to search.
    root: the absolute path of an existing folder.

  Returns:
    The tracks to remove from the index, and the number of tracks to keep for
    each folder that is missing or empty.
  """
  folders, deleted, kept = Folders(), [], {}
  for entry in index.inside(root):
    if not _is_deleted(entry.path):
      continue
    folder = folders.highest_empty(entry.path, root)
    if folder is None:
      deleted.append(entry)
    else:
      kept[folder] = kept.get(folder, 0) + 1
  return deleted, kept


def _is_deleted(path: str) -> bool:
  """Returns whether a file certainly does not exist.

  A file that this user is not permitted to see may exist.
  """
  try:
    os.lstat(path)
  except (FileNotFoundError, NotADirectoryError):
    return True
  except OSError:
    pass
  return False


def missing(index: Index, root: str) -> dict[str, int]:
  """Returns the other indexed folders without files, and their track counts.

  Args:
    index: the index to search.
    root: the folder that has just been indexed; it and the folders in it are
      skipped.
  """
  folders = Folders()
  return {
    other: number
    for other, number in index.roots()
    if not is_inside(other, root) and not folders.has_file(other)
  }


def report_kept(folder: str, number: int) -> None:
  """Prints that the tracks of a missing or empty folder are kept."""
  state = 'empty' if os.path.isdir(folder) else 'missing'
  kept = kept_message(folder, number)
  print(f'{printable(folder)}: {state}; {kept}', file=sys.stderr)


def kept_message(folder: str, number: int) -> str:
  """Returns a message: the tracks of a folder are kept, and what to do.

  Args:
    folder: the folder's absolute path.
    number: how many of its tracks are in the index.
  """
  name = shlex.quote(printable(folder))
  return (
    f'the index keeps {tracks(number)} of it. If it was renamed: collection '
    f'index --moved {name}=NEW. If it was deleted: collection forget {name}'
  )


def tracks(number: int) -> str:
  """Formats a number of tracks."""
  return f'{number} track{"" if number == 1 else "s"}'


def find(index: Index, folder: str) -> tuple[str, list[Entry]]:
  """Finds the tracks of a folder, which need not exist any more.

  The index stores the real paths of the folders that were indexed, but a path
  in one of them may lead through a symbolic link. So links are resolved only as
  far as needed to find tracks.

  Args:
    index: the index to search.
    folder: the folder's path as the user wrote it.

  Returns:
    The folder's path in the index and its tracks. If it has no tracks, its real
    path and an empty list.
  """
  for path in _partly_resolved(folder):
    found = list(index.inside(path))
    if found:
      return path, found
  return os.path.realpath(folder), []


def _partly_resolved(folder: str) -> Iterator[str]:
  """Yields the absolute path with more and more of its links resolved."""
  path = os.path.abspath(folder)
  head, rest = os.sep, path.strip(os.sep).split(os.sep)
  yield path
  while rest:
    head = os.path.realpath(os.path.join(head, rest.pop(0)))
    yield os.path.join(head, *rest)


def _not_indexed_error(index: Index, folder: str) -> ConfigError:
  roots = ', '.join(printable(root) for root, _ in index.roots())
  return ConfigError(
    f'{printable(folder)}: {index.path} has no tracks of it; indexed folders: '
    f'{roots or "none"}'
  )


def forget(index: Index, folder: str) -> int:
  """Removes the tracks of a folder from the index; touches no file.

  Args:
    index: the index to change.
    folder: the folder's path as the user wrote it; it need not exist any more.

  Returns:
    The number of tracks that were removed.

  Raises:
    ConfigError: the index has no tracks of this folder.
  """
  _, found = find(index, folder)
  if not found:
    raise _not_indexed_error(index, folder)
  index.delete(found)
  return len(found)


def rename(index: Index, moved: str) -> tuple[str, str, int]:
  """Gives the tracks of a renamed folder their new paths.

  Their predictions are kept. If the index already has a track at the new path,
  the renamed one replaces it.

  Args:
    index: the index to change.
    moved: `OLD=NEW`, the folder's old path, which need not exist any more, and
      its new path.

  Returns:
    The old path, the new path and the number of renamed tracks.

  Raises:
    ConfigError: NEW is not a folder, the index has no tracks of OLD, or none
      of their files is in NEW.
  """
  old, new, found = _old_and_new(index, moved)
  paths = [os.path.join(new, os.path.relpath(e.path, old)) for e in found]
  if not any(map(os.path.lexists, paths)):
    raise ConfigError(
      f'--moved={printable(moved)}: none of the {tracks(len(found))} of '
      f'{printable(old)} is in {printable(new)}'
    )
  index.rename(
    [
      (entry, path, _new_root(entry.root, old, new))
      for entry, path in zip(found, paths, strict=True)
    ]
  )
  return old, new, len(found)


def _old_and_new(index: Index, moved: str) -> tuple[str, str, list[Entry]]:
  """Parses `OLD=NEW`; a path may contain equals signs itself."""
  positions = [i for i, character in enumerate(moved) if character == '=']
  pairs = [(moved[:i], moved[i + 1 :]) for i in positions]
  pairs = [tuple(map(os.path.expanduser, x)) for x in pairs if all(x)]
  if not pairs:
    raise ConfigError(f'--moved={printable(moved)}: must be OLD=NEW')
  for old, new in pairs:
    path, found = find(index, old)
    if found and os.path.isdir(new):
      return path, os.path.realpath(new), found
  old, new = pairs[0]
  if not os.path.isdir(new):
    raise ConfigError(
      f'--moved={printable(moved)}: {printable(new)} is not a folder'
    )
  raise _not_indexed_error(index, old)


def _new_root(root: str, old: str, new: str) -> str:
  """Returns the root of a renamed track, which must contain the track."""
  if is_inside(root, old):
    return os.path.normpath(os.path.join(new, os.path.relpath(root, old)))
  return root if is_inside(new, root) else new
