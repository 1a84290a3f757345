"""Access to tracks in buckets (`gs://`, `s3://`), through fsspec."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import fsspec

from mgc_jax.datasets.track import is_remote
from mgc_jax.system.errors import RemoteError

_TRIES = 3
_PAUSE_S = 1.0  # before the second try, twice that before the third
# The metadata of an object that changes with its content.
_STATE = ('size', 'ETag', 'etag', 'md5Hash', 'generation', 'LastModified')


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
  """Yields a local path: that of a local file, or of a temporary copy.

  Args:
    path: a local or remote file. A copy has the same name, and does not exist
      if the file does not.

  Raises:
    RemoteError: several attempts to fetch the file failed.
  """
  if not is_remote(path):
    yield path
    return
  with tempfile.TemporaryDirectory() as folder:
    copy = os.path.join(folder, path.rpartition('/')[2])
    for i in range(_TRIES):
      try:
        with _files(path).open(path, 'rb') as source:
          with open(copy, 'wb') as target:
            shutil.copyfileobj(source, target, 1 << 20)
        break
      except FileNotFoundError:
        break
      except Exception as error:  # fsspec's backends raise errors of any type
        if i == _TRIES - 1:
          raise RemoteError(f'{path}: cannot be fetched: {error}') from error
        time.sleep(_PAUSE_S * 2**i)
    yield copy


def remote_states(paths: list[str]) -> dict[str, tuple]:
  """Returns the metadata that shows whether a remote file has changed.

  Args:
    paths: files, of which local ones are ignored.

  Raises:
    RemoteError: the files cannot be listed.
  """
  remote = [path for path in paths if is_remote(path)]
  if not remote:
    return {}
  scheme = remote[0].partition('://')[0]
  folder = os.path.commonpath([path.partition('://')[2] for path in remote])
  root = f'{scheme}://{folder}'
  try:
    found = _files(root).find(root, detail=True)
  except Exception as error:  # fsspec's backends raise errors of any type
    raise RemoteError(f'{root}: cannot be listed: {error}') from error
  return {
    f'{scheme}://{path.removeprefix(f"{scheme}://")}': tuple(
      str(facts[key]) for key in _STATE if key in facts
    )
    for path, facts in found.items()
  }


def _files(path: str) -> Any:  # fsspec.AbstractFileSystem, which is untyped
  try:
    return fsspec.filesystem(path.partition('://')[0])
  except ImportError as error:
    raise RemoteError(
      f'{path}: {error}; pip install gcsfs for gs://, s3fs for s3://'
    ) from error
