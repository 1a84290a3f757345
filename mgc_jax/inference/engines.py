"""Chooses what computes a model: JAX, onnxruntime or OpenVINO."""

import contextlib
import json
import logging
import pathlib
import time
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING

from mgc_jax.inference.onnx_model import runtimes
from mgc_jax.system import atomic_file
from mgc_jax.system.arguments import Parser
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.jax_runtime import machine
from mgc_jax.system.user_dirs import cache_folder

if TYPE_CHECKING:  # not needed for --help
  from mgc_jax.inference.classifier import Classifier

AUTO, JAX = 'auto', 'jax'
ONNX, OPENVINO = runtimes.ONNXRUNTIME, runtimes.OPENVINO
ENGINES = (AUTO, JAX, ONNX, OPENVINO)

_logger = logging.getLogger(__name__)

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
    help='What computes the model: jax; onnx or openvino, each of which needs '
    "the extra of its name: pip install 'mgc_jax[onnx]'; or auto, the fastest "
    'of those that are installed, which is measured when a model is used for '
    'the first time on a machine.',
  )


def fastest(
  key: str, makers: dict[str, Callable[[], 'Classifier']]
) -> 'Classifier':
  """Returns a classifier of the engine that is fastest on this machine.

  It is measured once for each model and remembered in the user's cache.
  Without a cache, or if no other is installed, it is that of JAX.

  Args:
    key: identifies the model and the code that computes it.
    makers: for each engine, what loads the model.
  """
  folder = cache_folder('engines')
  installed = list(filter(runtimes.is_installed, runtimes.RUNTIMES))
  if not (folder and installed):
    return makers[JAX]()
  makers = {name: makers[name] for name in (JAX, *installed)}
  packages = sorted({x for name in installed for x in runtimes.RUNTIMES[name]})
  versions = '-'.join(map(metadata.version, packages))
  path = folder / f'{key}-{machine()}-{versions}.json'
  chosen = _remembered(path)
  if chosen not in makers:
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
  return chosen if isinstance(chosen, str) else None


def _measured(makers: dict[str, Callable[[], 'Classifier']]) -> dict:
  """Returns the fastest engine, and the seconds that each takes for 30 s."""
  import numpy as np

  _logger.info('comparing %s on this machine', ', '.join(makers))
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
      _logger.info('%s cannot be used: %s', name, error)
  for _ in range(_NUM_ROUNDS):
    for name in seconds:
      start_s = time.perf_counter()
      classifiers[name].predict(noise, _SAMPLE_RATE_HZ)
      seconds[name] = min(seconds[name], time.perf_counter() - start_s)
  return {'engine': min(seconds, key=lambda x: seconds[x]), 'seconds': seconds}
