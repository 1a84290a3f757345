"""Exports a model to ONNX, and runs such files with neither JAX nor Flax.

Any ONNX runtime can run the file. Its inputs are `frames` and `num_frames` of
one excerpt, its outputs `logits`, `mask` and `embedding`. Genres and settings
are JSON in the file's metadata.
"""

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
  metadata_json,
  parse,
)
from mgc_jax.system.errors import ConfigError, DataError

if TYPE_CHECKING:
  import jax
  import onnxruntime

  from mgc_jax.models.bundle import Bundle

_KEY = 'mgc_jax'  # the key of our JSON in the file's metadata
_INPUTS = ('frames', 'num_frames')
_OUTPUTS = ('logits', 'mask', 'embedding')
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
    """Does what `jax_export.Program` does, for one excerpt (B = 1)."""
    inputs = dict(zip(_INPUTS, (frames, num_frames), strict=True))
    try:
      outputs: Any = self.session.run(_OUTPUTS, inputs)  # arrays: see `read`
      logits, mask, embedding = outputs
      return logits, mask, embedding
    except Exception as error:  # onnxruntime's errors have no common class
      message = ' '.join(str(error).split())[:200]
      raise DataError(f'the model fails: {message}') from error


def of_bundle(bundle: 'Bundle') -> bytes:
  """Exports a trained model; returns the content of the file.

  Args:
    bundle: the trained model.

  Raises:
    ConfigError: the optional dependencies are not installed.
    DataError: an operation of the model cannot be converted; the message names
      it.
  """
  try:
    import jax2onnx
  except ImportError as error:
    raise _not_installed_error('jax2onnx') from error
  import jax
  from jax.extend.core import jaxpr_as_fun

  from mgc_jax.inference.jax_export import make_predict_fn
  from mgc_jax.models.cpu.convolution import portable

  metadata = parse(metadata_json(bundle))
  size = (metadata.max_frames, metadata.config.features.num_bands)
  inputs = [
    jax.ShapeDtypeStruct((1, *size), np.float16),
    jax.ShapeDtypeStruct((1,), np.int32),
  ]
  # Traced before the conversion, because jax2onnx replaces Flax's layers with
  # its own definitions.
  with portable():
    traced = jax.make_jaxpr(make_predict_fn(bundle, _cut_by_product))(*inputs)
  compute = jaxpr_as_fun(traced)
  try:
    model = jax2onnx.to_onnx(
      lambda *arrays: tuple(compute(*arrays)),
      inputs,
      input_names=_INPUTS,
      output_names=_OUTPUTS,
    )
  except NotImplementedError as error:
    version = getattr(jax2onnx, '__version__', '')
    raise DataError(f'jax2onnx {version} cannot convert: {error}') from error
  entry = model.metadata_props.add()
  entry.key, entry.value = _KEY, metadata_json(bundle)
  return model.SerializeToString()


def _cut_by_product(
  frames: 'jax.Array', starts: 'jax.Array', length: int
) -> 'jax.Array':
  """Replaces `windows.cut`, as jax2onnx cannot convert dynamic slices."""
  import jax.numpy as jnp

  rows = starts[..., None] + jnp.arange(length)[None, None]
  one_hot = rows[..., None] == jnp.arange(frames.shape[1])[None, None, None]
  return jnp.einsum(
    'bwtn,bnf->bwtf', one_hot.astype(jnp.float32), frames.astype(jnp.float32)
  )


def read(path: str | os.PathLike) -> OnnxProgram:
  """Reads an exported model.

  Args:
    path: the file.

  Raises:
    ConfigError: onnxruntime is not installed.
    DataError: the file is not a model of this package.
  """
  try:
    import onnxruntime
  except ImportError as error:
    raise _not_installed_error('onnxruntime') from error
  path = pathlib.Path(path)
  options = onnxruntime.SessionOptions()
  options.log_severity_level = _LOG_ERRORS_ONLY
  try:
    if path.stat().st_size > _MAX_BYTES:
      raise ValueError('too large')
    # Loaded from memory, so that the model cannot refer to other files.
    session = onnxruntime.InferenceSession(
      path.read_bytes(), options, providers=['CPUExecutionProvider']
    )
    metadata = parse(session.get_modelmeta().custom_metadata_map[_KEY])
    arrays = [*session.get_inputs(), *session.get_outputs()]
    if tuple(array.name for array in arrays) != _INPUTS + _OUTPUTS:
      raise ValueError('unexpected inputs or outputs')
    dtypes = [str(_DTYPES.get(array.type, array.type)) for array in arrays]
    check_signature(metadata, dtypes, [tuple(array.shape) for array in arrays])
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except Exception as error:  # onnxruntime's errors have no common class
    message = ' '.join(str(error).split())[:200]
    raise DataError(f'{path}: not an exported model ({message})') from error
  return OnnxProgram(**vars(metadata), session=session)


def _not_installed_error(name: str) -> ConfigError:
  return ConfigError(f"ONNX needs {name}: pip install 'mgc_jax[onnx]'")
