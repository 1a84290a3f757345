"""Loads a model by its name or path."""

import hashlib
import logging
import os
import pathlib
from importlib import metadata
from typing import TYPE_CHECKING

from mgc_jax.inference import onnx_export, pretrained
from mgc_jax.inference.classifier import Classifier
from mgc_jax.system import atomic_file, jax_runtime
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.user_dirs import cache_folder

if TYPE_CHECKING:  # imports JAX
  from mgc_jax.inference.jax_export import Program

_logger = logging.getLogger(__name__)

_MAX_CACHED = 16  # programs in the user's cache, 1.5 MB each
# The code that a cached program depends on, in addition to the bundle.
_SOURCES = (
  'models/*.py',
  'models/cpu/*.py',
  'config/schema.py',
  'config/versions.py',
  'inference/jax_export.py',
  'inference/model_metadata.py',
)
_ZIP = b'PK'  # the first bytes of a jax_export file; others may be ONNX


def load(
  model: str | os.PathLike = pretrained.BEST, owns_process: bool = False
) -> Classifier:
  """Loads a model, as `mgc_jax.load` does.

  Args:
    model: see `mgc_jax.load`.
    owns_process: whether the memory allocator of the whole process may be
      configured.
  """
  folder = bundle_folder(model)
  if folder is None and not _is_zip(pathlib.Path(model)):
    return Classifier(onnx_export.read(model))
  if owns_process:
    jax_runtime.set_up()
  else:
    jax_runtime.keep_compiled()
  jax_runtime.check_device()
  from mgc_jax.inference import jax_export  # imports JAX; ONNX needs none

  if folder is None:
    return Classifier(jax_export.read(model))
  return Classifier(_cached_program(folder))


def _is_zip(path: pathlib.Path) -> bool:
  try:
    with path.open('rb') as file:
      return file.read(len(_ZIP)) == _ZIP
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error


def bundle_folder(model: str | os.PathLike) -> pathlib.Path | None:
  """Returns the folder of a model's bundle; None if the model is a file.

  Args:
    model: see `load`.

  Raises:
    ConfigError: the model does not exist.
  """
  name, path = os.fspath(model), pathlib.Path(model)
  if name in pretrained.NAMES:
    return pretrained.path(name)
  try:
    if path.is_file():
      return None
    for folder in (path / 'bundle', path):
      if (folder / 'bundle.json').is_file():
        return folder
  except OSError as error:  # name too long, or no permission
    raise ConfigError(f'--model={name}: {error.strerror}') from error
  raise ConfigError(
    f'--model={name}: no such model; must be one of '
    f'{", ".join(pretrained.NAMES)}, the folder of a run, or an exported file'
  )


def _cached_program(folder: pathlib.Path) -> 'Program':
  """Exports a bundle once and keeps the program in the user's cache.

  Reading it takes a quarter of the time that exporting takes.
  """
  from mgc_jax.inference import jax_export

  cache = cache_folder('programs')
  path = cache / f'{_cache_key(folder)}.mgc' if cache else None
  if path and path.is_file():
    try:
      return jax_export.read(path, trusted=True)
    except DataError as error:
      _logger.info('%s; exporting it again', error)
  from mgc_jax.models import bundle as bundles

  data = jax_export.of_bundle(bundles.load(folder))
  if not path:
    return jax_export.loads(data, trusted=True)
  try:
    atomic_file.write_bytes(path, data)
    _delete_old(path.parent)
    return jax_export.read(path, trusted=True)
  except OSError:  # a full disk
    return jax_export.loads(data, trusted=True)


def _cache_key(folder: pathlib.Path) -> str:
  """Hashes everything that a program depends on: bundle, code, JAX version."""
  package = pathlib.Path(__file__).parents[1]
  sources = []
  for pattern in _SOURCES:
    found = sorted(package.glob(pattern))
    if not found:  # otherwise a moved file would silently leave the key
      raise RuntimeError(f'{package}: no file matches {pattern}')
    sources += found
  digest = hashlib.sha256(metadata.version('jax').encode())
  for path in [*sorted(folder.glob('*.json')), *folder.glob('*.safetensors')]:
    digest.update(hashlib.sha256(path.read_bytes()).digest())
  for path in sources:
    digest.update(path.read_bytes())
  return digest.hexdigest()[:24]


def _delete_old(folder: pathlib.Path) -> None:
  """Deletes all programs from a cache except the _MAX_CACHED newest."""
  paths = sorted(folder.glob('*.mgc'), key=lambda path: path.stat().st_mtime)
  for path in paths[:-_MAX_CACHED]:
    path.unlink(missing_ok=True)
