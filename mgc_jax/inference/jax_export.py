"""Exports a model to one file that JAX can run, and reads such files.

The file is a zip of `model.json` (genres, features, windows, temperature) and
the network with its weights as StableHLO (made by `jax.export`), for cpu, cuda
and tpu and any batch size. It runs without Flax and without this package's
model code. Nothing in it is pickled. But it is code, so a program that calls
anything outside of itself is rejected.
"""

import dataclasses
import io
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import export

from mgc_jax.config.schema import FeaturesConfig
from mgc_jax.inference.model_metadata import (
  ModelMetadata,
  check_signature,
  max_frames,
  metadata_json,
  parse,
)
from mgc_jax.system.errors import DataError

if TYPE_CHECKING:  # imports Flax
  from mgc_jax.models.bundle import Bundle

PLATFORMS = ('cpu', 'cuda', 'tpu')
_JSON, _PROGRAM = 'model.json', 'program.stablehlo'
_MAX_BYTES = {_JSON: 1 << 20, _PROGRAM: 1 << 30}


@dataclasses.dataclass(frozen=True)
class Program(ModelMetadata):
  """An exported model that is run by JAX."""

  exported: export.Exported
  _call: Callable = dataclasses.field(init=False, repr=False, compare=False)

  def __call__(
    self, frames: np.ndarray, num_frames: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the logits and embeddings of excerpts.

    Args:
      frames: f16[B, N, F] in dB, zero-padded at the end.
      num_frames: i32[B], the length of each excerpt.

    Returns:
      f32[B, W, C] logits before temperature scaling; bool[B, W], True where a
      window is real; f32[B, W, D] embeddings, the inputs of the last dense
      layer.

    Raises:
      DataError: the computation fails.
    """
    try:
      outputs = self._call(frames, num_frames)
      logits, mask, embedding = (np.asarray(output) for output in outputs)
      return logits, mask, embedding
    except (TypeError, ValueError, RuntimeError) as error:  # last: from XLA
      message = ' '.join(str(error).split())[:200]
      raise DataError(f'the model fails: {message}') from error

  def __post_init__(self):
    """Wraps the program in `jit`, which compiles it once for each shape."""
    object.__setattr__(self, '_call', jax.jit(self.exported.call))


def make_predict_fn(
  bundle: 'Bundle',
) -> Callable[[jax.Array, jax.Array], tuple]:
  """Returns the function of `Program.__call__` for a trained model.

  Args:
    bundle: the trained model.
  """
  from mgc_jax.models import create_model, embed_windows, windows

  model = create_model(bundle.config)
  settings = bundle.config.windows
  bands = bundle.band_mean, bundle.band_std

  def predict(frames: jax.Array, num_frames: jax.Array) -> tuple:
    inputs, mask = windows.grid_windows(frames, num_frames, *bands, settings)
    logits, embedding = embed_windows(model, bundle.variables, inputs)
    return logits, mask, embedding

  return predict


def of_bundle(bundle: 'Bundle') -> bytes:
  """Exports a trained model; returns the content of the file.

  Args:
    bundle: the trained model.
  """
  from mgc_jax.models.cpu.convolution import portable

  with portable():
    exported = export.export(
      jax.jit(make_predict_fn(bundle)), platforms=PLATFORMS
    )(*input_shapes(bundle.config.features))
  data = io.BytesIO()
  with zipfile.ZipFile(data, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr(_JSON, metadata_json(bundle))
    file.writestr(_PROGRAM, bytes(exported.serialize()))
  return data.getvalue()


def read(path: str | os.PathLike, trusted: bool = False) -> Program:
  """Reads an exported model.

  Args:
    path: the file.
    trusted: whether this machine wrote the file. Otherwise a program that calls
      anything outside of itself is rejected.

  Raises:
    DataError: the file does not exist, or is not a model of this package.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError(f'{path}: no such file')
  try:
    if path.stat().st_size > sum(_MAX_BYTES.values()):
      raise ValueError('too large')
    return loads(path.read_bytes(), trusted)
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except ValueError as error:
    raise DataError(f'{path}: not an exported model ({error})') from error


def loads(data: bytes, trusted: bool = False) -> Program:
  """Parses the content of a file, as `read` does.

  Args:
    data: the result of `of_bundle`.
    trusted: see `read`.

  Raises:
    ValueError: the content is invalid; the message says why in one line.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
      contents = {name: _content(file, name) for name in _MAX_BYTES}
    metadata = parse(contents[_JSON])
    exported = export.deserialize(bytearray(contents[_PROGRAM]))
    program = Program(**vars(metadata), exported=exported)
    _check(program, trusted)
  except Exception as error:  # from zip, JSON, flatbuffers, MLIR or XLA
    raise ValueError(' '.join(str(error).split())[:200]) from error
  return program


def _content(file: zipfile.ZipFile, name: str) -> bytes:
  with file.open(name) as part:
    data = part.read(_MAX_BYTES[name] + 1)
  if len(data) > _MAX_BYTES[name]:
    raise ValueError(f'{name}: larger than {_MAX_BYTES[name]} bytes')
  return data


def input_shapes(features: FeaturesConfig) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the shapes f16[b, N, F] and i32[b] with a symbolic batch size b.

  Args:
    features: `config.features`.
  """
  (batch,) = export.symbolic_shape('b')
  shape = (batch, max_frames(features), features.num_bands)
  return (
    jax.ShapeDtypeStruct(shape, np.float16),
    jax.ShapeDtypeStruct((batch,), np.int32),
  )


def _check(program: Program, trusted: bool) -> None:
  exported = program.exported
  arrays = [*exported.in_avals, *exported.out_avals]
  dtypes, shapes = [str(x.dtype) for x in arrays], [x.shape for x in arrays]
  check_signature(program, dtypes, shapes)
  platform = jax.default_backend().replace('gpu', 'cuda')
  if platform not in exported.platforms:
    raise ValueError(
      f'exported for {", ".join(exported.platforms)}, not for {platform}'
    )
  if exported.in_tree != jax.tree.structure(((0, 0), {})):
    raise ValueError('unexpected inputs')
  if exported.out_tree != jax.tree.structure((0, 0, 0)):
    raise ValueError('unexpected outputs')
  if trusted:
    return
  # The only call in a program of ours is JAX's check of the batch size.
  rest = exported.mlir_module().replace('custom_call @shape_assertion(', '')
  if 'custom_call' in rest:
    raise ValueError('the program calls external code')
