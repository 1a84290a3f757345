"""A model as one program: frames in, answers out, in one file.

The file is a zip of `model.json` (genres, features, windows, temperature) and
the compiled-from form of the network, weights inside (StableHLO, by
`jax.export`), for cpu, cuda and tpu and batches of any size. It runs without
Flax and without this package's models. Nothing in it is pickled; it is code
nevertheless, so what calls anything outside of itself is refused.
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
from ml_collections import ConfigDict, FrozenConfigDict

from mgc_jax.inference.model_metadata import (
  Description,
  check_signature,
  describe,
  max_frames,
  parse,
)
from mgc_jax.system.errors import DataError

if TYPE_CHECKING:  # brings Flax
  from mgc_jax.models.bundle import Bundle

PLATFORMS = ('cpu', 'cuda', 'tpu')
_JSON, _PROGRAM = 'model.json', 'program.stablehlo'
_MAX_BYTES = {_JSON: 1 << 20, _PROGRAM: 1 << 30}


@dataclasses.dataclass(frozen=True)
class Program(Description):
  """A model that answers, by JAX."""

  exported: export.Exported
  _call: Callable = dataclasses.field(init=False, repr=False, compare=False)

  def __call__(
    self, frames: np.ndarray, num_frames: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers for excerpts.

    Args:
      frames: f16[B, N, F] in dB, zeros behind an excerpt's end.
      num_frames: i32[B].

    Returns:
      f32[B, W, C] logits, of no temperature; bool[B, W], True where a window is
      real; f32[B, W, D] embeddings, the input of the last dense layer.

    Raises:
      DataError: it cannot be computed.
    """
    try:
      outputs = self._call(frames, num_frames)
      logits, mask, embedding = (np.asarray(output) for output in outputs)
      return logits, mask, embedding
    except (TypeError, ValueError, RuntimeError) as error:  # XLA's is the last
      said = ' '.join(str(error).split())[:200]
      raise DataError(f'the model fails: {said}') from error

  def __post_init__(self):
    """Compiles once for each shape."""
    object.__setattr__(self, '_call', jax.jit(self.exported.call))


def answering(
  bundle: 'Bundle', cut: Callable | None = None
) -> Callable[[jax.Array, jax.Array], tuple]:
  """Returns the function of frames that a trained model is.

  Args:
    bundle: the model.
    cut: of windows, where another than this package's is wanted.
  """
  from mgc_jax.models import create_model, embed_windows, windows

  model = create_model(bundle.config)
  settings = FrozenConfigDict(bundle.config.windows)
  bands = bundle.band_mean, bundle.band_std

  def answer(frames: jax.Array, num_frames: jax.Array) -> tuple:
    cuts, mask = windows.grid_windows(
      frames, num_frames, *bands, settings, cut or windows.cut
    )
    logits, embedding = embed_windows(model, bundle.variables, cuts)
    return logits, mask, embedding

  return answer


def of_bundle(bundle: 'Bundle') -> bytes:
  """Makes the file's content from a trained model.

  Args:
    bundle: the model.
  """
  from mgc_jax.models.cpu.convolution import portable

  with portable():
    exported = export.export(jax.jit(answering(bundle)), platforms=PLATFORMS)(
      *input_shapes(bundle.config.features)
    )
  data = io.BytesIO()
  with zipfile.ZipFile(data, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr(_JSON, describe(bundle))
    file.writestr(_PROGRAM, bytes(exported.serialize()))
  return data.getvalue()


def read(path: str | os.PathLike, trusted: bool = False) -> Program:
  """Reads a program.

  Args:
    path: of the file.
    trusted: whether this machine made it; else it is searched for calls to what
      is outside of it.

  Raises:
    DataError: there is none, or it is not a program of this package.
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
  """Returns the program that a file's content is.

  Args:
    data: of `of_bundle`.
    trusted: as `read` takes it.

  Raises:
    ValueError: it is none; says why in one line.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
      contents = {name: _content(file, name) for name in _MAX_BYTES}
    about = parse(contents[_JSON])
    exported = export.deserialize(bytearray(contents[_PROGRAM]))
    program = Program(**vars(about), exported=exported)
    _check(program, trusted)
  except Exception as error:  # of zip, JSON, flatbuffers, MLIR and XLA
    raise ValueError(' '.join(str(error).split())[:200]) from error
  return program


def _content(file: zipfile.ZipFile, name: str) -> bytes:
  with file.open(name) as part:
    data = part.read(_MAX_BYTES[name] + 1)
  if len(data) > _MAX_BYTES[name]:
    raise ValueError(f'{name}: over {_MAX_BYTES[name]} bytes')
  return data


def input_shapes(features: ConfigDict) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns f16[b, N, F] and i32[b], of a batch of any size.

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
  kinds, shapes = [str(x.dtype) for x in arrays], [x.shape for x in arrays]
  check_signature(program, kinds, shapes)
  platform = jax.default_backend().replace('gpu', 'cuda')
  if platform not in exported.platforms:
    raise ValueError(
      f'it is for {", ".join(exported.platforms)}: no {platform}'
    )
  if exported.in_tree != jax.tree.structure(((0, 0), {})):
    raise ValueError('other inputs')
  if exported.out_tree != jax.tree.structure((0, 0, 0)):
    raise ValueError('other outputs')
  if trusted:
    return
  # JAX's check of the batch's size is the one call that is ours.
  rest = exported.mlir_module().replace('custom_call @shape_assertion(', '')
  if 'custom_call' in rest:
    raise ValueError('it calls what is outside of it')
