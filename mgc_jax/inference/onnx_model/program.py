"""Runs models that were exported to ONNX, with neither JAX nor Flax."""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mgc_jax.inference.model_metadata import (
  ModelMetadata,
  check_signature,
  parse,
)
from mgc_jax.system import cores
from mgc_jax.system.errors import ConfigError, DataError

if TYPE_CHECKING:
  import onnxruntime

KEY = 'mgc_jax'  # the key of our JSON in the file's metadata
INPUTS = ('frames', 'num_frames')
OUTPUTS = ('logits', 'mask', 'embedding')
_MAX_BYTES = 1 << 30
_DTYPES = {
  'tensor(float16)': 'float16',
  'tensor(int32)': 'int32',
  'tensor(float)': 'float32',
  'tensor(bool)': 'bool',
}
_LOG_ERRORS_ONLY = 3  # a log level of onnxruntime


@dataclasses.dataclass(frozen=True)
class OnnxProgram(ModelMetadata):
  """An exported model that is run by onnxruntime."""

  session: 'onnxruntime.InferenceSession'

  def __call__(
    self, frames: np.ndarray, num_frames: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Does what `jax_export.Program` does."""
    inputs = dict(zip(INPUTS, (frames, num_frames), strict=True))
    try:
      outputs: Any = self.session.run(OUTPUTS, inputs)  # arrays: see `read`
      logits, mask, embedding = outputs
      return logits, mask, embedding
    except Exception as error:  # onnxruntime's errors have no common class
      message = ' '.join(str(error).split())[:200]
      raise DataError(f'the model fails: {message}') from error


def read(path: str | os.PathLike) -> OnnxProgram:
  """Reads an exported model.

  Args:
    path: the file.

  Raises:
    ConfigError: onnxruntime is not installed.
    DataError: the file is not a model of this package.
  """
  path = pathlib.Path(path)
  try:
    if path.stat().st_size > _MAX_BYTES:
      raise ValueError('too large')
    return loads(path.read_bytes())
  except ConfigError:  # a ValueError, too
    raise
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except ValueError as error:
    raise DataError(f'{path}: not an exported model ({error})') from error


def loads(data: bytes) -> OnnxProgram:
  """Parses the content of a file, as `read` does.

  Args:
    data: the result of `export.of_bundle`.

  Raises:
    ConfigError: onnxruntime is not installed.
    ValueError: the content is invalid; the message says why in one line.
  """
  try:
    # Loaded from memory, so that the model cannot refer to other files.
    made = session(data)
    metadata = parse(made.get_modelmeta().custom_metadata_map[KEY])
    arrays = [*made.get_inputs(), *made.get_outputs()]
    if tuple(array.name for array in arrays) != INPUTS + OUTPUTS:
      raise ValueError('unexpected inputs or outputs')
    dtypes = [str(_DTYPES.get(array.type, array.type)) for array in arrays]
    check_signature(metadata, dtypes, [tuple(array.shape) for array in arrays])
  except ConfigError:
    raise
  except Exception as error:  # onnxruntime's errors have no common class
    raise ValueError(' '.join(str(error).split())[:200]) from error
  return OnnxProgram(**vars(metadata), session=made)


def session(model: bytes) -> 'onnxruntime.InferenceSession':
  """Prepares a model to be run on the processor.

  Args:
    model: the content of an ONNX file.

  Raises:
    ConfigError: onnxruntime is not installed.
  """
  # Read when the package is imported, which otherwise reports to its authors.
  os.environ['ORT_DISABLE_TELEMETRY'] = '1'
  try:
    import onnxruntime
  except ImportError as error:
    raise not_installed_error('onnxruntime') from error
  options = onnxruntime.SessionOptions()
  options.log_severity_level = _LOG_ERRORS_ONLY
  # With its own choice, onnxruntime would also use cores that are withheld from
  # this process.
  options.intra_op_num_threads = cores.count()
  # Threads that wait must not keep the cores from threads that decode.
  options.add_session_config_entry('session.intra_op.allow_spinning', '0')
  return onnxruntime.InferenceSession(
    model, options, providers=['CPUExecutionProvider']
  )


def not_installed_error(name: str) -> ConfigError:
  """Returns an error that says how to install what a package needs.

  Args:
    name: of the package that is missing.
  """
  return ConfigError(f"ONNX needs {name}: pip install 'mgc_jax[onnx]'")
