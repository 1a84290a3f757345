"""Exported programs in the user's cache, so that each is made only once."""

import contextlib
import hashlib
import pathlib
from collections.abc import Callable, Iterable
from importlib import metadata

from mgc_jax.system import atomic_file
from mgc_jax.system.user_dirs import cache_folder

_MAX_CACHED = 32  # programs in the user's cache, 1.5 MB each
# The code that a cached program depends on, in addition to the weights.
_SOURCES = (
  'models/*.py',
  'models/cpu/*.py',
  'config/schema.py',
  'config/versions.py',
  'features/musicnn_encoder.py',
  'inference/jax_export.py',
  'inference/model_metadata.py',
  'inference/onnx_model/*.py',
)
_FOLDER = 'programs'


def path_of(files: Iterable[pathlib.Path], suffix: str) -> pathlib.Path | None:
  """Returns where a program is cached; None if there is no cache.

  The name depends on everything that the program depends on: weights, code and
  the versions of packages.

  Args:
    files: settings and weights.
    suffix: names the kind of the program.
  """
  folder = cache_folder(_FOLDER)
  return folder / f'{key(files)}{suffix}' if folder else None


def content(path: pathlib.Path | None, make: Callable[[], bytes]) -> bytes:
  """Returns a program from the cache, or makes it and stores it there.

  Args:
    path: the result of `path_of`.
    make: makes the program.
  """
  if path:
    with contextlib.suppress(OSError):  # most often there is none yet
      return path.read_bytes()
  return renewed(path, make)


def renewed(path: pathlib.Path | None, make: Callable[[], bytes]) -> bytes:
  """Makes a program and stores it, in place of one that is damaged.

  Args:
    path: the result of `path_of`.
    make: makes the program.
  """
  data = make()
  if path:
    with contextlib.suppress(OSError):  # a full disk
      atomic_file.write_bytes(path, data)
      _delete_old(path.parent)
  return data


def key(files: Iterable[pathlib.Path]) -> str:
  """Returns a hash of all that a program depends on.

  Args:
    files: settings and weights.
  """
  package = pathlib.Path(__file__).parents[1]
  sources = []
  for pattern in _SOURCES:
    found = sorted(package.glob(pattern))
    if not found:  # otherwise a moved file would silently leave the key
      raise RuntimeError(f'{package}: no file matches {pattern}')
    sources += found
  digest = hashlib.sha256(metadata.version('jax').encode())
  for path in [*files, *sources]:
    digest.update(hashlib.sha256(path.read_bytes()).digest())
  return digest.hexdigest()[:24]


def _delete_old(folder: pathlib.Path) -> None:
  """Deletes all programs from a cache except the `_MAX_CACHED` newest."""
  paths = sorted(folder.glob('*.*'), key=lambda path: path.stat().st_mtime)
  for path in paths[:-_MAX_CACHED]:
    path.unlink(missing_ok=True)
