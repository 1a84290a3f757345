"""Chooses what computes a model: JAX, or onnxruntime if that is faster here."""

import contextlib
import json
import logging
import pathlib
import time
from collections.abc import Callable
from importlib import metadata, util
from typing import TYPE_CHECKING

from mgc_jax.system import atomic_file
from mgc_jax.system.arguments import Parser
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.jax_runtime import machine
from mgc_jax.system.user_dirs import cache_folder

if TYPE_CHECKING:  # not needed for --help
  from mgc_jax.inference.classifier import Classifier

AUTO, JAX, ONNX = 'auto', 'jax', 'onnx'
ENGINES = (AUTO, JAX, ONNX)

_logger = logging.getLogger(__name__)

_PACKAGES = ('onnx', 'onnxruntime')  # what exporting and running need
_SAMPLE_RATE_HZ = 22050
_DURATION_S = 30
_NUM_ROUNDS = 3


def add_flag(parser: Parser) -> None:
  """Adds the flag `--engine`.

  Args:
    parser: of the command.
  """
  parser.add_argument(
    '--engine',
    choices=ENGINES,
    default=AUTO,
    help='What computes the model: jax; onnx, which needs the extra: pip '
    "install 'mgc_jax[onnx]'; or auto, the one that is faster on this machine, "
    'which is measured when a model is used for the first time.',
  )


def fastest(
  key: str, makers: dict[str, Callable[[], 'Classifier']]
) -> 'Classifier':
  """Returns a classifier of the engine that is faster on this machine.

  It is measured once for each model and remembered in the user's cache.
  Without a cache or without onnxruntime, it is that of JAX.

  Args:
    key: identifies the model and the code that computes it.
    makers: for `JAX` and for `ONNX`, what loads the model.
  """
  folder = cache_folder('engines')
  if not (folder and all(map(util.find_spec, _PACKAGES))):
    return makers[JAX]()
  versions = '-'.join(map(metadata.version, _PACKAGES))
  path = folder / f'{key}-{machine()}-{versions}.json'
  chosen = _remembered(path)
  if chosen is None:
    found = _measured(makers)
    chosen = found['engine']
    with contextlib.suppress(OSError):  # a full disk
      atomic_file.write_bytes(path, json.dumps(found).encode())
  return makers[chosen]()


def _remembered(path: pathlib.Path) -> str | None:
  """Returns the engine that a file names; None if there is none."""
  try:
    found = json.loads(path.read_bytes())
  except (OSError, ValueError):  # not measured yet, or damaged
    return None
  chosen = found.get('engine') if isinstance(found, dict) else None
  return chosen if chosen in (JAX, ONNX) else None


def _measured(makers: dict[str, Callable[[], 'Classifier']]) -> dict:
  """Returns the faster engine, and the seconds that each takes for 30 s."""
  import numpy as np

  _logger.info('comparing JAX and onnxruntime on this machine')
  rng = np.random.default_rng(0)
  noise = rng.normal(0, 0.1, _SAMPLE_RATE_HZ * _DURATION_S).astype(np.float32)
  classifiers, seconds = {}, {}
  for name, make in makers.items():
    try:
      classifiers[name] = make()
      classifiers[name].predict(noise, _SAMPLE_RATE_HZ)  # compiles
      seconds[name] = float('inf')
    except (ConfigError, DataError) as error:
      if name == JAX:
        raise
      _logger.info('onnxruntime cannot be used: %s', error)
  for _ in range(_NUM_ROUNDS):
    for name in seconds:
      start_s = time.perf_counter()
      classifiers[name].predict(noise, _SAMPLE_RATE_HZ)
      seconds[name] = min(seconds[name], time.perf_counter() - start_s)
  return {'engine': min(seconds, key=lambda x: seconds[x]), 'seconds': seconds}
