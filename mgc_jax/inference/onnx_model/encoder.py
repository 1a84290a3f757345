"""The pretrained encoder in onnxruntime, with neither JAX nor Flax."""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING, Any

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
from mgc_jax.inference.onnx_model.program import not_installed_error, session
from mgc_jax.system.errors import ConfigError

if TYPE_CHECKING:
  import onnxruntime

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OnnxEncoder(Encoder):
  """The network with its weights, computed by onnxruntime."""

  session: 'onnxruntime.InferenceSession'

  def compute(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `Encoder`."""
    outputs: Any = self.session.run(['features', 'tags'], {'frames': frames})
    return outputs[0], outputs[1]


@functools.cache
def load() -> OnnxEncoder:
  """Loads the encoder that comes with the package.

  Raises:
    ConfigError: the optional dependencies are not installed.
    DataError: a file is missing or damaged.
  """
  files = [FOLDER / WEIGHTS_FILE, FOLDER / TAGS_FILE]
  path = program_cache.path_of(files, '.encoder.onnx')
  data = program_cache.content(path, _exported)
  try:
    made = session(data)
  except ConfigError:
    raise
  except Exception as error:  # onnxruntime's errors have no common class
    _logger.info('%s: %s; exporting it again', path, error)
    made = session(program_cache.renewed(path, _exported))
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
