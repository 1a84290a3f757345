"""Folders of an index that are missing or empty today, or that were renamed.

A disk that is not mounted looks like a folder whose files were deleted. So a
track is forgotten only if its own folder still has files; else it is kept, and
the person is told which folder it is.
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
  """Which folders have files today; each is looked at once."""

  def __init__(self):
    """Nothing has been looked at yet."""
    self._has_file: dict[str, bool] = {}

  def has_file(self, folder: str) -> bool:
    """Returns whether there is any file in a folder or its sub-folders.

    Args:
      folder: its path. A folder that is missing or cannot be read has none, as
        far as anybody can tell.
    """
    real = os.path.realpath(folder)
    if real not in self._has_file:
      self._has_file[real] = False  # meanwhile: links may form a loop
      self._has_file[real] = self._look(real)
    return self._has_file[real]

  def _look(self, folder: str) -> bool:
    try:
      with os.scandir(folder) as items:
        folders = []
        for item in items:
          if os.path.isdir(item.path):
            folders.append(item.path)
          elif os.path.exists(item.path):  # a broken link is no file
            return True
    except OSError:
      return False
    return any(map(self.has_file, folders))

  def highest_absent(self, path: str, root: str) -> str | None:
    """Returns the highest folder above a file that has no file today.

    Args:
      path: of a file in `root`.
      root: an absolute path; the highest folder that is looked at.

    Returns:
      A folder; None if the file's own folder has other files.
    """
    folder = root
    for name in os.path.relpath(os.path.dirname(path), root).split(os.sep):
      folder = os.path.normpath(os.path.join(folder, name))
      if not self.has_file(folder):
        return folder
    return None


def gone(index: Index, root: str) -> tuple[list[Entry], dict[str, int]]:
  """Finds the tracks of a folder whose files are no longer there.

  Args:
    index: has the tracks.
    root: an absolute path of a folder that is there.

  Returns:
    The tracks to be forgotten, and the number of tracks to be kept in each
    folder that is missing or empty.
  """
  folders, forgotten, kept = Folders(), [], {}
  for entry in index.inside(root):
    if not _is_gone(entry.path):
      continue
    folder = folders.highest_absent(entry.path, root)
    if folder is None:
      forgotten.append(entry)
    else:
      kept[folder] = kept.get(folder, 0) + 1
  return forgotten, kept


def _is_gone(path: str) -> bool:
  """Returns whether there is surely no such file.

  A file that this user may not see is not gone.
  """
  try:
    os.lstat(path)
  except (FileNotFoundError, NotADirectoryError):
    return True
  except OSError:
    pass
  return False


def absent(index: Index, root: str) -> dict[str, int]:
  """Returns other indexed folders without a file today, and their tracks.

  Args:
    index: has the tracks.
    root: the folder that has just been indexed; it is left out, and so is what
      lies in it.
  """
  folders = Folders()
  return {
    other: number
    for other, number in index.roots()
    if not is_inside(other, root) and not folders.has_file(other)
  }


def tell_kept(folder: str, number: int) -> None:
  """Says on standard error that tracks of an absent folder are kept."""
  state = 'empty' if os.path.isdir(folder) else 'not there'
  kept = kept_line(folder, number)
  print(f'{printable(folder)}: {state} now; {kept}', file=sys.stderr)


def kept_line(folder: str, number: int) -> str:
  """Returns what is kept of a folder without music, and what one can do.

  Args:
    folder: an absolute path.
    number: how many tracks the index has of it.
  """
  name = shlex.quote(printable(folder))
  return (
    f'the index keeps {tracks(number)} of it. If it was renamed: collection '
    f'index --moved {name}=NEW. If it is gone for good: collection forget '
    f'{name}'
  )


def tracks(number: int) -> str:
  """Returns a number of tracks in words."""
  return f'{number} track{"" if number == 1 else "s"}'


def find(index: Index, folder: str) -> tuple[str, list[Entry]]:
  """Finds the tracks of a folder, which need not exist any more.

  The index has the real paths of the folders that were indexed, but a path in
  one of them may lead through a symbolic link. So links are resolved only as
  far as is needed to find tracks.

  Args:
    index: has the tracks.
    folder: as a person writes it.

  Returns:
    The folder's path in the index, and its tracks. Without tracks: the real
    path.
  """
  for path in _readings(folder):
    found = list(index.inside(path))
    if found:
      return path, found
  return os.path.realpath(folder), []


def _readings(folder: str) -> Iterator[str]:
  """Yields the absolute path with more and more of its links resolved."""
  path = os.path.abspath(folder)
  head, rest = os.sep, path.strip(os.sep).split(os.sep)
  yield path
  while rest:
    head = os.path.realpath(os.path.join(head, rest.pop(0)))
    yield os.path.join(head, *rest)


def unknown(index: Index, folder: str) -> ConfigError:
  """Returns the error for a folder of which the index has no track."""
  roots = ', '.join(printable(root) for root, _ in index.roots())
  return ConfigError(
    f'{printable(folder)}: {index.path} has no tracks of it; it has '
    f'{roots or "no folder"}'
  )


def forget(index: Index, folder: str) -> int:
  """Removes the tracks of a folder from the index; no file is touched.

  Args:
    index: has the tracks.
    folder: as a person writes it; it need not exist any more.

  Returns:
    How many tracks there were.

  Raises:
    ConfigError: the index has none of it.
  """
  _, found = find(index, folder)
  if not found:
    raise unknown(index, folder)
  index.delete(found)
  return len(found)


def rename(index: Index, moved: str) -> tuple[str, str, int]:
  """Gives the tracks of a renamed folder their new paths.

  Their answers are kept. If the index already has a track at the new path, the
  renamed one replaces it.

  Args:
    index: has the tracks.
    moved: `OLD=NEW`: the path that the folder had, which need not exist any
      more, and the one that it has now.

  Returns:
    The old and the new path, and how many tracks were renamed.

  Raises:
    ConfigError: NEW is not a folder, the index has no tracks of OLD, or none
      of their files is in NEW.
  """
  old, new, found = _old_and_new(index, moved)
  places = [os.path.join(new, os.path.relpath(e.path, old)) for e in found]
  if not any(map(os.path.lexists, places)):
    raise ConfigError(
      f'--moved={printable(moved)}: of the {tracks(len(found))} of '
      f'{printable(old)} none is in {printable(new)}'
    )
  index.rename(
    [
      (entry, path, _new_root(entry.root, old, new))
      for entry, path in zip(found, places, strict=True)
    ]
  )
  return old, new, len(found)


def _old_and_new(index: Index, moved: str) -> tuple[str, str, list[Entry]]:
  """Reads `OLD=NEW`, where a path may have an equals sign, too."""
  cuts = [i for i, character in enumerate(moved) if character == '=']
  pairs = [(moved[:i], moved[i + 1 :]) for i in cuts]
  pairs = [tuple(map(os.path.expanduser, x)) for x in pairs if all(x)]
  if not pairs:
    raise ConfigError(f'--moved={printable(moved)}: write OLD=NEW, two folders')
  for old, new in pairs:
    path, found = find(index, old)
    if found and os.path.isdir(new):
      return path, os.path.realpath(new), found
  old, new = pairs[0]
  if not os.path.isdir(new):
    raise ConfigError(
      f'--moved={printable(moved)}: {printable(new)} is not a folder'
    )
  raise unknown(index, old)


def _new_root(root: str, old: str, new: str) -> str:
  """Returns the root of a renamed track, which has to be above it."""
  if is_inside(root, old):
    return os.path.normpath(os.path.join(new, os.path.relpath(root, old)))
  return root if is_inside(new, root) else new
