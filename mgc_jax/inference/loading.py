"""Loads a model by its name or path."""

import functools
import logging
import os
import pathlib

from mgc_jax.inference import engines, pretrained, program_cache
from mgc_jax.inference.classifier import Classifier
from mgc_jax.inference.onnx_model import encoder as onnx_encoder
from mgc_jax.inference.onnx_model import program as onnx_program
from mgc_jax.system import jax_runtime
from mgc_jax.system.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

_ZIP = b'PK'  # the first bytes of a jax_export file; others may be ONNX


def load(
  model: str | os.PathLike = pretrained.BEST,
  owns_process: bool = False,
  engine: str = engines.AUTO,
) -> Classifier:
  """Loads a model, as `mgc_jax.load` does.

  Args:
    model: see `mgc_jax.load`.
    owns_process: whether the memory allocator of the whole process may be
      configured.
    engine: see `mgc_jax.load`.
  """
  if engine not in engines.ENGINES:
    raise ConfigError(
      f'engine={engine}: must be one of {", ".join(engines.ENGINES)}'
    )
  folder = bundle_folder(model)
  if folder is None:
    return _of_file(pathlib.Path(model), owns_process, engine)
  makers = {
    engines.JAX: lambda: _by_jax(folder, owns_process),
    engines.ONNX: lambda: _by_onnx(folder, engines.ONNX),
    engines.OPENVINO: lambda: _by_onnx(folder, engines.OPENVINO),
  }
  if engine != engines.AUTO:
    return makers[engine]()
  return engines.fastest(program_cache.key(_files(folder)), makers)


def _of_file(path: pathlib.Path, owns_process: bool, engine: str) -> Classifier:
  """Loads an exported model, whose format says what computes it."""
  of_file = engines.JAX if _is_zip(path) else engines.ONNX
  if engine not in (of_file, engines.AUTO):
    raise ConfigError(
      f'--engine={engine}: {path} was exported for {of_file}; omit --engine'
    )
  if of_file == engines.ONNX:
    return Classifier(onnx_program.read(path), onnx_encoder.load)
  _set_up_jax(owns_process)
  from mgc_jax.inference import jax_export  # imports JAX; ONNX needs none

  return Classifier(jax_export.read(path))


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


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files of a bundle on which its programs depend."""
  return [*sorted(folder.glob('*.json')), *folder.glob('*.safetensors')]


def _by_jax(folder: pathlib.Path, owns_process: bool) -> Classifier:
  """Returns a classifier of a bundle, exported for JAX.

  Reading an exported program takes a quarter of the time that exporting takes.
  """
  _set_up_jax(owns_process)
  from mgc_jax.inference import jax_export  # imports JAX

  def make() -> bytes:
    from mgc_jax.models import bundle as bundles

    return jax_export.of_bundle(bundles.load(folder))

  path = program_cache.path_of(_files(folder), '.mgc')
  try:
    data = program_cache.content(path, make)
    return Classifier(jax_export.loads(data, trusted=True))
  except ValueError as error:
    _logger.info('%s: %s; exporting it again', path, error)
  data = program_cache.renewed(path, make)
  return Classifier(jax_export.loads(data, trusted=True))


def _by_onnx(folder: pathlib.Path, runtime: str) -> Classifier:
  """Returns a classifier of a bundle, exported to ONNX."""

  def make() -> bytes:
    from mgc_jax.inference.onnx_model import export  # imports JAX
    from mgc_jax.models import bundle as bundles

    return export.of_bundle(bundles.load(folder))

  path = program_cache.path_of(_files(folder), '.onnx')
  data = program_cache.content(path, make)
  try:
    model = onnx_program.loads(data, runtime)
  except ValueError as error:
    _logger.info('%s: %s; exporting it again', path, error)
    model = onnx_program.loads(program_cache.renewed(path, make), runtime)
  return Classifier(model, functools.partial(onnx_encoder.load, runtime))


def _set_up_jax(owns_process: bool) -> None:
  if owns_process:
    jax_runtime.set_up()
  else:
    jax_runtime.keep_compiled()
  jax_runtime.check_device()
