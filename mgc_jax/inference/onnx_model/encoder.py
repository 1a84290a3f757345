"""The pretrained encoder in an ONNX runtime, with neither JAX nor Flax."""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

import dataclasses
import functools
import logging

import numpy as np

from mgc_jax.features.encoder import (
  BATCH_SIZE,
  FOLDER,
  TAGS_FILE,
  WEIGHTS_FILE,
  Encoder,
  read_tag_names,
)
from mgc_jax.inference import program_cache
from mgc_jax.inference.onnx_model.runtimes import (
  ONNXRUNTIME,
  Runtime,
  not_installed_error,
  open_graph,
)
from mgc_jax.system.errors import ConfigError

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OnnxEncoder(Encoder):
  """The network with its weights, computed by onnxruntime or OpenVINO."""

  runtime: Runtime

  def compute(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `Encoder`."""
    features, tags = self.runtime.run({'frames': frames})
    return features, tags


@functools.cache
def load(runtime: str = ONNXRUNTIME) -> OnnxEncoder:
  """Loads the encoder that comes with the package.

  Args:
    runtime: what runs it, `ONNXRUNTIME` or `OPENVINO`.

  Raises:
    ConfigError: the optional dependencies are not installed.
    DataError: a file is missing or damaged.
  """
  files = [FOLDER / WEIGHTS_FILE, FOLDER / TAGS_FILE]
  path = program_cache.path_of(files, '.encoder.onnx')
  data = program_cache.content(path, _exported)
  try:
    made = open_graph(data, runtime)
  except ConfigError:
    raise
  except Exception as error:  # the runtimes' errors have no common class
    _logger.info('%s: %s; exporting it again', path, error)
    made = open_graph(program_cache.renewed(path, _exported), runtime)
  return OnnxEncoder(read_tag_names(), made)


def _exported() -> bytes:
  """Exports the encoder; imports JAX."""
  try:
    import onnx  # noqa: F401
  except ImportError as error:
    raise not_installed_error('onnx') from error
  from mgc_jax.features import musicnn_encoder
  from mgc_jax.inference.onnx_model import musicnn

  variables = musicnn_encoder.load().variables
  model = musicnn.encoder(variables, musicnn_encoder.GRID, BATCH_SIZE)
  return model.SerializeToString()
