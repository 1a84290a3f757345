"""Links, copies and moves files atomically, without overwriting anything."""

import contextlib
import errno
import filecmp
import hashlib
import os
import pathlib
import shutil

from mgc_jax.system.errors import DataError

LEVELS = ('genre', 'artist')  # what folders of sorted tracks are named after
_BLOCK_BYTES = 1 << 20
# Errors that would also occur for the next file.
FATAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Errors if a file system has no hard links or the paths are on two of them.
_NO_HARD_LINK = (
  errno.EMLINK,
  errno.ENOSYS,
  errno.EOPNOTSUPP,
  errno.EPERM,
  errno.EXDEV,
)


class LeftInPlace(DataError):
  """A file is left as it is; the message says why."""


def link(source: str, to: str) -> None:
  """Creates a symbolic link to `source` at `to`.

  Raises:
    FileExistsError: `to` exists.
    OSError: the link cannot be created.
  """
  _make_parent(to)
  os.symlink(source, to)
  _sync_folder(to)


def copy(source: str, to: str) -> None:
  """Copies a file and its attributes.

  Raises:
    FileExistsError: `to` exists.
    LeftInPlace: the file changed while it was copied.
    OSError: for example, the disk is full; nothing is left at `to`.
  """
  _make_parent(to)
  partial = partial_path(to)
  try:
    copy_unchanged(source, partial)
    _publish(partial, to)
  finally:
    with contextlib.suppress(OSError):
      os.unlink(partial)
  _sync_folder(to)


def copy_unchanged(source: str, partial: str) -> None:
  """Copies a file and its attributes, and waits until the copy is on the disk.

  Args:
    source: the file to copy.
    partial: the path of the copy. An existing file or link is removed first.

  Raises:
    LeftInPlace: the file changed while it was copied.
    OSError: for example, the disk is full.
  """
  with contextlib.suppress(FileNotFoundError):
    os.unlink(partial)
  before = os.stat(source)
  flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
  with (
    open(source, 'rb') as old,
    os.fdopen(os.open(partial, flags, 0o600), 'wb') as new,
  ):
    shutil.copyfileobj(old, new, _BLOCK_BYTES)
    new.flush()
    os.fsync(new.fileno())
  keep_attributes(source, partial, before)
  check_unchanged(source, before)


def keep_attributes(source: str, to: str, before: os.stat_result) -> None:
  """Gives a copy the owner, mode, extended attributes and times of a file.

  Skips attributes that this user may not set, or that the copy's file system
  does not have.

  Args:
    source: the file.
    to: its copy.
    before: the file's state before it was read, with the times to set.
  """
  for owner in ((before.st_uid, -1), (-1, before.st_gid)):
    with contextlib.suppress(PermissionError):
      os.chown(to, *owner)
  with contextlib.suppress(PermissionError):
    shutil.copystat(source, to)  # after chown, which clears some mode bits
  with contextlib.suppress(PermissionError):
    os.utime(to, ns=(before.st_atime_ns, before.st_mtime_ns))


def check_unchanged(path: str, before: os.stat_result) -> None:
  """Raises `LeftInPlace` if a file has changed."""
  now = os.stat(path)
  if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
    raise LeftInPlace('changed while it was copied')


def move(source: str, to: str) -> None:
  """Moves a file; at any time it is complete at one of the two paths.

  Raises:
    FileExistsError: `to` exists.
    LeftInPlace: the file is a link, or changed while it was moved.
    OSError: the disk is full, or the file cannot be removed from its old path.
  """
  if os.path.islink(source):
    raise LeftInPlace('a link, which may be broken if it is moved')
  _make_parent(to)
  try:
    os.link(source, to)
    _sync_folder(to)
  except OSError as error:
    if error.errno not in _NO_HARD_LINK:
      raise
    copy(source, to)
  try:
    os.unlink(source)
  except OSError:
    os.unlink(to)  # created above
    raise
  _sync_folder(source)


def finish(method: str, source: str, to: str) -> None:
  """Finishes what a killed process had started; keeps every complete file.

  Args:
    method: `link`, `copy` or `move`.
    source: the file's path.
    to: its new path.
  """
  with contextlib.suppress(OSError):
    os.unlink(partial_path(to))
  if method == 'link' or not (is_own_file(source) and is_own_file(to)):
    return
  if os.path.getsize(to) == 0 < os.path.getsize(source):
    os.unlink(to)  # the empty file with which `_publish` reserves the name
  elif method == 'move' and is_same(source, to):
    os.unlink(source)


def is_own_file(path: str) -> bool:
  """Returns whether a path is a file and not a link to one."""
  return os.path.isfile(path) and not os.path.islink(path)


def is_same(a: str, b: str) -> bool:
  """Returns whether two files have the same bytes."""
  return os.path.samefile(a, b) or filecmp.cmp(a, b, shallow=False)


def _publish(partial: str, to: str) -> None:
  """Gives a finished copy its final name, unless that exists."""
  try:
    os.link(partial, to)  # fails if `to` exists
  except FileExistsError:
    raise
  except OSError as error:
    if error.errno not in _NO_HARD_LINK:
      raise
    # Reserves the name with an empty file, which is then replaced atomically.
    os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
      os.replace(partial, to)
    except OSError:
      os.unlink(to)
      raise


def partial_path(to: str) -> str:
  """Returns the path of an unfinished copy, always the same for a file."""
  folder, name = os.path.split(to)
  digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
  return os.path.join(folder, f'.mgc_jax-{digest}.partial')


def _make_parent(to: str) -> None:
  pathlib.Path(to).parent.mkdir(parents=True, exist_ok=True)


def _sync_folder(path: str) -> None:
  """Makes a new or removed name durable, if the folder can be synced."""
  with contextlib.suppress(OSError):
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
      os.fsync(folder)
    finally:
      os.close(folder)
