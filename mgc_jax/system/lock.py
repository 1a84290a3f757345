"""A lock that the operating system gives back when its process dies."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def exclusive(
  path: str | os.PathLike, on_busy: Callable[[], None]
) -> Iterator[None]:
  """Holds a lock file; nobody else does meanwhile.

  Args:
    path: of the file, made where it is missing and left where it is: deleting
      it would let two processes hold locks of one name.
    on_busy: called once where another process holds it. It may raise; where
      it returns, this waits.

  Raises:
    OSError: the file cannot be made.
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
    # For writing, though nothing is written: NFS locks such files only.
    return os.open(path, flags | os.O_RDWR, 0o644)
  except OSError as error:
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
      raise
    # In a folder that is read-only; elsewhere than on NFS this is enough.
    return os.open(path, flags | os.O_RDONLY, 0o644)
