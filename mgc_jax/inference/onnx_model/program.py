"""Runs models that were exported to ONNX, with neither JAX nor Flax."""

import dataclasses
import os
import pathlib

import numpy as np

from mgc_jax.inference.model_metadata import (
  ModelMetadata,
  check_signature,
  parse,
)
from mgc_jax.inference.onnx_model.runtimes import (
  ONNXRUNTIME,
  Runtime,
  open_graph,
)
from mgc_jax.system.errors import ConfigError, DataError

KEY = 'mgc_jax'  # the key of our JSON in the file's metadata
INPUTS = ('frames', 'num_frames')
OUTPUTS = ('logits', 'mask', 'embedding')
_MAX_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class OnnxProgram(ModelMetadata):
  """An exported model that is run by onnxruntime or OpenVINO."""

  runtime: Runtime

  def __call__(
    self, frames: np.ndarray, num_frames: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Does what `jax_export.Program` does."""
    inputs: dict[str, np.ndarray] = dict(
      zip(INPUTS, (frames, num_frames), strict=True)
    )
    try:
      logits, mask, embedding = self.runtime.run(inputs)
      return logits, mask, embedding
    except Exception as error:  # the runtimes' errors have no common class
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


def loads(data: bytes, runtime: str = ONNXRUNTIME) -> OnnxProgram:
  """Parses the content of a file, as `read` does.

  Args:
    data: the result of `export.of_bundle`.
    runtime: what runs it, `ONNXRUNTIME` or `OPENVINO`.

  Raises:
    ConfigError: the runtime is not installed.
    ValueError: the content is invalid; the message says why in one line.
  """
  try:
    opened = open_graph(data, runtime)
    metadata = parse(opened.metadata(KEY))
    names, dtypes, shapes = zip(*opened.signature(), strict=True)
    if names != INPUTS + OUTPUTS:
      raise ValueError('unexpected inputs or outputs')
    check_signature(metadata, list(dtypes), list(shapes))
  except ConfigError:
    raise
  except Exception as error:  # the runtimes' errors have no common class
    raise ValueError(' '.join(str(error).split())[:200]) from error
  return OnnxProgram(**vars(metadata), runtime=opened)
