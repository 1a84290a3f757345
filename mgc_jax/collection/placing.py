"""Places a file at a new path: whole or not at all, overwriting nothing."""

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
# Errors that the next file would meet as well.
STOPPING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Errors of file systems without hard links, or of a link between two of them.
_NO_HARD_LINK = (
  errno.EMLINK,
  errno.ENOSYS,
  errno.EOPNOTSUPP,
  errno.EPERM,
  errno.EXDEV,
)


class Stays(DataError):
  """A file stays where it is; the message says why."""


def link(source: str, to: str) -> None:
  """Makes a symbolic link at `to`.

  Raises:
    FileExistsError: something is there.
    OSError: it cannot be made.
  """
  _make_parent(to)
  os.symlink(source, to)
  _sync_folder(to)


def copy(source: str, to: str) -> None:
  """Makes a copy at `to`, with the attributes of the file.

  Raises:
    FileExistsError: something is there.
    Stays: the file changed meanwhile.
    OSError: the disk is full, for example; then nothing is at `to`.
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
  """Makes a copy in a new file, and waits until it is on the disk.

  Args:
    source: the file.
    partial: the path of the copy. A file or a link that is already there is
      removed first.

  Raises:
    Stays: the file changed meanwhile.
    OSError: the disk is full, for example.
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
  refuse_changed(source, before)


def keep_attributes(source: str, to: str, before: os.stat_result) -> None:
  """Gives a copy the owner, mode, extended attributes and times of a file.

  What this user may not set, or what the file system of the copy does not
  have, is left as it is.

  Args:
    source: the file.
    to: the copy.
    before: the file's state before it was read, with the times to be kept.
  """
  for owner in ((before.st_uid, -1), (-1, before.st_gid)):
    with contextlib.suppress(PermissionError):
      os.chown(to, *owner)
  with contextlib.suppress(PermissionError):
    shutil.copystat(source, to)  # after chown, which clears some of the mode
  with contextlib.suppress(PermissionError):
    os.utime(to, ns=(before.st_atime_ns, before.st_mtime_ns))


def refuse_changed(path: str, before: os.stat_result) -> None:
  """Raises `Stays` if a file is no longer as it was."""
  now = os.stat(path)
  if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
    raise Stays('changed while it was copied')


def move(source: str, to: str) -> None:
  """Moves a file to `to`; at every moment it is whole at one of the paths.

  Raises:
    FileExistsError: something is there.
    Stays: the file is a link, or changed meanwhile.
    OSError: the disk is full, or the file cannot be removed from its old path.
  """
  if os.path.islink(source):
    raise Stays('a link, which may lead nowhere from another place')
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
    os.unlink(to)  # made a moment ago
    raise
  _sync_folder(source)


def finish(method: str, source: str, to: str) -> None:
  """Finishes what a killed process had begun; what is whole stays.

  Args:
    method: link, copy or move.
    source: the path of the file.
    to: its new path.
  """
  with contextlib.suppress(OSError):
    os.unlink(partial_path(to))
  if method == 'link' or not (is_own_file(source) and is_own_file(to)):
    return
  if os.path.getsize(to) == 0 < os.path.getsize(source):
    os.unlink(to)  # the name that `_publish` reserved
  elif method == 'move' and is_same(source, to):
    os.unlink(source)


def is_own_file(path: str) -> bool:
  """Returns whether there is a file, and not only a link to one."""
  return os.path.isfile(path) and not os.path.islink(path)


def is_same(a: str, b: str) -> bool:
  """Returns whether two files are identical, byte for byte."""
  return os.path.samefile(a, b) or filecmp.cmp(a, b, shallow=False)


def _publish(partial: str, to: str) -> None:
  try:
    os.link(partial, to)  # fails where something is there
  except FileExistsError:
    raise
  except OSError as error:
    if error.errno not in _NO_HARD_LINK:
      raise
    # The name is reserved, and then filled at once.
    os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
      os.replace(partial, to)
    except OSError:
      os.unlink(to)
      raise


def partial_path(to: str) -> str:
  """Returns the path of an unfinished copy, which is the same each time."""
  folder, name = os.path.split(to)
  digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
  return os.path.join(folder, f'.mgc_jax-{digest}.partial')


def _make_parent(to: str) -> None:
  pathlib.Path(to).parent.mkdir(parents=True, exist_ok=True)


def _sync_folder(path: str) -> None:
  """Makes a new or removed name permanent, if the folder can be synced."""
  with contextlib.suppress(OSError):
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
      os.fsync(folder)
    finally:
      os.close(folder)
