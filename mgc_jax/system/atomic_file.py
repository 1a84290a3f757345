"""Writes files atomically, even if the process is killed meanwhile."""

import contextlib
import os
import pathlib
import secrets
from collections.abc import Iterator


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a temporary path; on exit the file written there replaces `path`.

  If an error is raised meanwhile, the old file stays as it was. The new file is
  flushed to the disk before the replacement, so a machine that crashes keeps
  one or the other.

  Args:
    path: the file to write; its folder must exist.

  Yields:
    A path in the same folder that no other process uses.

  Raises:
    OSError: the file cannot be written.
  """
  path = pathlib.Path(path)
  partial = path.with_name(f'{path.name}.{secrets.token_hex(4)}.partial')
  try:
    yield partial
    with partial.open('rb') as file:
      os.fsync(file.fileno())
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
  """Writes a file atomically.

  Args:
    path: the file to write; its folder must exist.
    data: the whole content.

  Raises:
    OSError: the file cannot be written.
  """
  with writing(path) as partial:
    partial.write_bytes(data)
