"""Writes files that are whole or absent, whoever is killed meanwhile."""

import contextlib
import os
import pathlib
import secrets
from collections.abc import Iterator


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a place beside a file; what is written there takes its place.

  What went wrong meanwhile leaves the file as it was. Before it is replaced the
  new one is on the disk, so that a machine that stops has the one or the other.

  Args:
    path: of the file; its folder exists.

  Yields:
    The place, of this process alone.

  Raises:
    OSError: it cannot be written.
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
  """Writes a file, as `writing` does.

  Args:
    path: of the file; its folder exists.
    data: all of it.

  Raises:
    OSError: it cannot be written.
  """
  with writing(path) as partial:
    partial.write_bytes(data)
