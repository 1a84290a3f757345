"""A file with the results of one part of a job, and their digest.

The file is an uncompressed `.npz`, which is read without pickle, followed by
the SHA-256 of its bytes. It appears when it is complete.
"""

import hashlib
import io
import os
import pathlib

import numpy as np

from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError

SUFFIX = '.npz'
_DIGEST_BYTES = hashlib.sha256().digest_size


def write(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
  """Writes a file atomically.

  Args:
    path: the file; its folder must exist.
    arrays: the results by name: numbers or text.

  Raises:
    OSError: the file cannot be written.
  """
  buffer = io.BytesIO()
  np.savez(buffer, allow_pickle=False, **arrays)
  content = buffer.getvalue()
  atomic_file.write_bytes(path, content + hashlib.sha256(content).digest())


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads a file that `write` wrote.

  Args:
    path: the file.

  Raises:
    DataError: it is missing or damaged.
  """
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
  if hashlib.sha256(content).digest() != digest:
    raise DataError(f'{path}: damaged')
  try:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  except ValueError as error:  # it has pickled objects
    raise DataError(f'{path}: {error}') from error
