"""A model as ONNX: frames in, answers out, with neither JAX nor Flax.

One file that any ONNX runtime takes: inputs `frames` and `num_frames`, outputs
`logits`, `mask` and `embedding`, one excerpt at a time. What else there is to
know of it is JSON in its metadata.
"""

# The extra need not be installed where types are checked.
# pyright: reportMissingImports=false

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mgc_jax.inference.model_metadata import (
  Description,
  check_signature,
  describe,
  parse,
)
from mgc_jax.system.errors import ConfigError, DataError

if TYPE_CHECKING:
  import jax
  import onnxruntime

  from mgc_jax.models.bundle import Bundle

_KEY = 'mgc_jax'  # of the JSON in the metadata
_INPUTS = ('frames', 'num_frames')
_OUTPUTS = ('logits', 'mask', 'embedding')
_MAX_BYTES = 1 << 30
_KINDS = {
  'tensor(float16)': 'float16',
  'tensor(int32)': 'int32',
  'tensor(float)': 'float32',
  'tensor(bool)': 'bool',
}
_ERRORS_ONLY = 3  # of onnxruntime's levels of logging


@dataclasses.dataclass(frozen=True)
class OnnxProgram(Description):
  """A model that answers, by onnxruntime."""

  session: 'onnxruntime.InferenceSession'

  def __call__(
    self, frames: np.ndarray, num_frames: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers for one excerpt, as `program.Program` does for several."""
    inputs = dict(zip(_INPUTS, (frames, num_frames), strict=True))
    try:
      # Arrays, as `read` has seen to it.
      outputs: Any = self.session.run(_OUTPUTS, inputs)
      logits, mask, embedding = outputs
      return logits, mask, embedding
    except Exception as error:  # onnxruntime's have no common class
      said = ' '.join(str(error).split())[:200]
      raise DataError(f'the model fails: {said}') from error


def of_bundle(bundle: 'Bundle') -> bytes:
  """Makes the file's content from a trained model.

  Args:
    bundle: the model.

  Raises:
    ConfigError: the extra is not installed.
    DataError: an operation of the model cannot be converted; names it.
  """
  try:
    import jax2onnx
  except ImportError as error:
    raise _lacking('jax2onnx') from error
  import jax
  from jax.extend.core import jaxpr_as_fun

  from mgc_jax.inference.jax_export import answering
  from mgc_jax.models.cpu.convolution import portable

  about = parse(describe(bundle))
  size = (about.max_frames, about.config.features.num_bands)
  inputs = [
    jax.ShapeDtypeStruct((1, *size), np.float16),
    jax.ShapeDtypeStruct((1,), np.int32),
  ]
  # Traced before: jax2onnx has its own Flax layers, of other definitions.
  with portable():
    traced = jax.make_jaxpr(answering(bundle, _cut_by_product))(*inputs)
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
  entry.key, entry.value = _KEY, describe(bundle)
  return model.SerializeToString()


def _cut_by_product(
  frames: 'jax.Array', starts: 'jax.Array', length: int
) -> 'jax.Array':
  """As `windows.cut`: jax2onnx has no slices whose place is computed."""
  import jax.numpy as jnp

  at = starts[..., None] + jnp.arange(length)[None, None]
  is_at = at[..., None] == jnp.arange(frames.shape[1])[None, None, None]
  kinds = is_at.astype(jnp.float32), frames.astype(jnp.float32)
  return jnp.einsum('bwtn,bnf->bwtf', *kinds)


def read(path: str | os.PathLike) -> OnnxProgram:
  """Reads a model.

  Args:
    path: of the file.

  Raises:
    ConfigError: onnxruntime is not installed.
    DataError: it is no model of this package.
  """
  try:
    import onnxruntime
  except ImportError as error:
    raise _lacking('onnxruntime') from error
  path = pathlib.Path(path)
  options = onnxruntime.SessionOptions()
  options.log_severity_level = _ERRORS_ONLY
  try:
    if path.stat().st_size > _MAX_BYTES:
      raise ValueError('too large')
    # From memory: so it cannot name other files as parts of itself.
    session = onnxruntime.InferenceSession(
      path.read_bytes(), options, providers=['CPUExecutionProvider']
    )
    about = parse(session.get_modelmeta().custom_metadata_map[_KEY])
    parts = [*session.get_inputs(), *session.get_outputs()]
    if tuple(part.name for part in parts) != _INPUTS + _OUTPUTS:
      raise ValueError('other inputs or outputs')
    kinds = [str(_KINDS.get(part.type, part.type)) for part in parts]
    check_signature(about, kinds, [tuple(part.shape) for part in parts])
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except Exception as error:  # onnxruntime's have no common class
    said = ' '.join(str(error).split())[:200]
    raise DataError(f'{path}: not an exported model ({said})') from error
  return OnnxProgram(**vars(about), session=session)


def _lacking(name: str) -> ConfigError:
  return ConfigError(f"ONNX needs {name}: pip install 'mgc_jax[onnx]'")
