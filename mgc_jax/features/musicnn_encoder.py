"""Loads the musicnn that comes with the package, to be computed by JAX.

The kernels of 496 of the 561 published front-end filters are zero, because
weight decay removed them. `prune` removes those filters, which gives the same
outputs with a tenth of the arithmetic.
"""

import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from mgc_jax.audio import musicnn_mel
from mgc_jax.features.encoder import (
  FOLDER,
  WEIGHTS_FILE,
  Encoder,
  read_tag_names,
)
from mgc_jax.models.musicnn import (
  FRONT_KERNELS,
  NORM_EPSILON,
  Grid,
  Musicnn,
)
from mgc_jax.system.errors import DataError

PyTree = Any

GRID = Grid(musicnn_mel.NUM_FRAMES, musicnn_mel.HOP_FRAMES)


@dataclasses.dataclass(frozen=True)
class JaxEncoder(Encoder):
  """The network with its weights, computed by JAX."""

  model: Musicnn
  variables: PyTree

  def compute(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `Encoder`."""
    output = _apply(self.model.clone(grid=GRID), self.variables, frames)
    return np.asarray(output.features), np.asarray(output.tags)


# One function for all encoders, so that the same network is compiled once.
_apply = jax.jit(Musicnn.apply, static_argnums=0)


@functools.cache
def load(folder: str | os.PathLike = FOLDER) -> JaxEncoder:
  """Loads an encoder.

  Args:
    folder: made by `experiments.encoders.musicnn_checkpoint`.

  Raises:
    DataError: a file is missing or damaged, or does not fit the network.
  """
  model, variables = prune(read_variables(folder))
  return JaxEncoder(read_tag_names(folder), model, variables)


def read_variables(folder: str | os.PathLike = FOLDER) -> PyTree:
  """Returns the f32 variables of the whole network, which can be trained.

  Args:
    folder: see `load`.

  Raises:
    DataError: see `load`.
  """
  path = pathlib.Path(folder) / WEIGHTS_FILE
  try:
    flat = safetensors.numpy.load(path.read_bytes())
  except (OSError, safetensors.SafetensorError) as error:
    raise DataError(f'{path}: cannot be read ({error})') from error
  flat = {name: value.astype(np.float32) for name, value in flat.items()}
  if {name: value.shape for name, value in flat.items()} != _shapes():
    raise DataError(f'{path}: does not fit the network')
  if not all(np.isfinite(value).all() for value in flat.values()):
    raise DataError(f'{path}: not finite')
  return unflatten_dict(flat, sep='/')


@functools.cache
def _shapes() -> dict[str, tuple[int, ...]]:
  window = (1, musicnn_mel.NUM_FRAMES, musicnn_mel.NUM_BANDS)
  tree = jax.eval_shape(
    Musicnn().init, jax.random.key(0), jax.ShapeDtypeStruct(window, np.float32)
  )
  flat: dict[str, Any] = flatten_dict(tree, sep='/')
  return {name: value.shape for name, value in flat.items()}


def prune(variables: PyTree) -> tuple[Musicnn, PyTree]:
  """Removes the filters of the front end whose kernels are zero.

  Such a filter has the same output for every input. It goes into the biases of
  the two layers that read it: the outputs stay the same, except at the padding
  of the first convolution of the mid-end, where they differ by less than 1e-5.

  Args:
    variables: of the whole network.

  Returns:
    A smaller network and its variables.
  """
  flat = {
    name: np.asarray(value)
    for name, value in flatten_dict(variables, sep='/').items()
  }
  kept, constants = [], []
  for i in range(len(FRONT_KERNELS)):
    part = f'params/front_{i}'
    alive = flat[f'{part}/kernel'].any(axis=(0, 1, 2))
    bias = np.maximum(flat[f'{part}/bias'], 0)
    constants.append(_normalised(flat, f'front_{i}/norm', bias))
    kept.append(alive)
    for name in [name for name in flat if f'/front_{i}/' in name]:
      flat[name] = flat[name][..., alive]
  alive, constant = np.concatenate(kept), np.concatenate(constants)
  constant = np.where(alive, 0, constant)
  kernel = flat['params/mid_0/kernel']
  flat['params/mid_0/bias'] = flat['params/mid_0/bias'] + np.einsum(
    'tfco,c->o', kernel, constant
  )
  flat['params/mid_0/kernel'] = kernel[:, :, alive]
  _prune_pooled(flat, alive, constant)
  filters = tuple(int(part.sum()) for part in kept)
  return Musicnn(filters), unflatten_dict(flat, sep='/')


def _prune_pooled(
  flat: dict[str, np.ndarray], alive: np.ndarray, constant: np.ndarray
) -> None:
  """Removes what the back end reads of the filters that are not alive.

  Args:
    flat: the variables; changed in place.
    alive: bool[561], the filters of the front end that are kept.
    constant: f32[561], the outputs of the others.
  """
  kernel = flat['params/features/kernel']
  num_mid = len(kernel) // 2 - len(alive)
  # Maximum and mean of each channel; of a constant both are the same.
  removed = np.repeat(np.pad(~alive, (0, num_mid)), 2)
  values = np.repeat(np.pad(constant, (0, num_mid)), 2)
  values = np.where(removed, _normalised(flat, 'pool_norm', values), 0)
  flat['params/features/bias'] = flat['params/features/bias'] + values @ kernel
  flat['params/features/kernel'] = kernel[~removed]
  for name in [name for name in flat if '/pool_norm/' in name]:
    flat[name] = flat[name][~removed]


def _normalised(
  flat: dict[str, np.ndarray], norm: str, x: np.ndarray
) -> np.ndarray:
  """Applies a batch normalisation to f32[channels]."""
  stats = f'batch_stats/{norm}'
  x = (x - flat[f'{stats}/mean']) / np.sqrt(flat[f'{stats}/var'] + NORM_EPSILON)
  return x * flat[f'params/{norm}/scale'] + flat[f'params/{norm}/bias']
