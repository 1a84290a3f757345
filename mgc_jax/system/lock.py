"""A file lock that the operating system releases if its process dies."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def exclusive(
  path: str | os.PathLike, on_busy: Callable[[], None]
) -> Iterator[None]:
  """Holds an exclusive lock on a file.

  Args:
    path: the lock file. It is created if missing and never deleted: otherwise
      two processes could hold locks on files of the same name.
    on_busy: called once if another process holds the lock. It may raise; if
      it returns, this waits.

  Raises:
    OSError: the file cannot be created.
  """
  file = _open(path)
  try:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
        raise
      on_busy()
      fcntl.flock(file, fcntl.LOCK_EX)
    yield
  finally:
    os.close(file)


def _open(path: str | os.PathLike) -> int:
  flags = os.O_CREAT | os.O_CLOEXEC
  try:
    # Opened for writing, because NFS locks only such files.
    return os.open(path, flags | os.O_RDWR, 0o644)
  except OSError as error:
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
      raise
    # The folder is read-only; without NFS, opening for reading is enough.
    return os.open(path, flags | os.O_RDONLY, 0o644)
