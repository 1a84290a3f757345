"""Recomputes the batch-norm statistics for evaluation.

The running averages of training come from windows with mixup, masks and
dropout, and from weights that have changed since. So before an evaluation the
statistics are computed again with the final weights, on training windows as
they are evaluated (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm").
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mgc_jax.config.schema import Config, WindowsConfig
from mgc_jax.distributed.mesh import (
  process_part,
  replicate,
  replicated,
  shard_batch,
)
from mgc_jax.models import create_model
from mgc_jax.models.layers import NORM_MOMENTUM
from mgc_jax.models.windows import grid_windows
from mgc_jax.training.step import TrainState

if TYPE_CHECKING:  # decoding and tensorflow: not needed with another reader
  from mgc_jax.datasets.reader import Reader
  from mgc_jax.datasets.splits import Examples

PyTree = Any
_MAX_EXAMPLES = 1024  # enough for stable statistics


class PreciseBatchNorm:
  """Turns a train state into the variables that are evaluated."""

  def __init__(
    self, config: Config, reader: 'Reader', examples: 'Examples', mesh: Mesh
  ):
    """Stores the arguments; compiles nothing.

    Args:
      config: the whole configuration.
      reader: reads the records.
      examples: the training split; of a large one, a random sample is used.
      mesh: the devices that share each batch.
    """
    train = config.train
    # A frozen backbone keeps the statistics of the bundle that it is from, and
    # an encoder averages that start with those of far more music.
    is_pretrained = train.freeze_backbone or config.model.name == 'musicnn'
    self._is_on = train.precise_batch_norm and not is_pretrained
    self._batch_size = train.batch_size // train.accumulate_steps
    self._reader, self._examples, self._mesh = reader, examples, mesh
    self._of_batch = jax.jit(
      functools.partial(
        _batch_stats,
        model=create_model(_without_noise(config)),
        settings=config.windows,
      ),
      out_shardings=replicated(mesh),
    )

  def __call__(self, state: TrainState) -> PyTree:
    """Returns the state's variables with recomputed batch-norm statistics.

    Args:
      state: if its model has no batch normalisation, or if config.train says
        so, its variables are returned unchanged.

    Raises:
      DataError: a record is damaged.
    """
    variables = state.variables()
    if not (self._is_on and state.batch_stats):
      return variables
    size = len(self._examples)
    # Shuffled, as in training, because the index is sorted by genre.
    chosen = np.random.default_rng(0).permutation(size)[:_MAX_EXAMPLES]
    batches = self._reader.batches(
      self._examples, chosen, self._batch_size, part=process_part()
    )
    found, count = None, 0
    for batch in batches:
      placed = shard_batch(batch, self._mesh)
      stats = self._of_batch(
        variables,
        state.band_mean,
        state.band_std,
        placed['frames'],
        placed['num_frames'],
      )
      found = stats if found is None else jax.tree.map(jnp.add, found, stats)
      count += 1
    divisor = replicate(np.float32(count), self._mesh)
    mean = jax.tree.map(lambda x: x / divisor, found)
    return {**variables, 'batch_stats': mean}


def _without_noise(config: Config) -> Config:
  """Returns the configuration of the same model without dropout."""
  model, replace = config.model, dataclasses.replace
  cnn = replace(model.cnn, dropout=(0.0,) * len(model.cnn.dropout))
  dense = replace(model.dense, dropout=(0.0,) * len(model.dense.dropout))
  rates = [name for name in vars(model.lstm) if name.endswith('dropout')]
  lstm = replace(model.lstm, **dict.fromkeys(rates, 0.0))
  return replace(config, model=replace(model, cnn=cnn, dense=dense, lstm=lstm))


def _batch_stats(
  variables: PyTree,
  band_mean: jax.Array,
  band_std: jax.Array,
  frames: jax.Array,
  num_frames: jax.Array,
  *,
  model: Any,
  settings: WindowsConfig,
) -> PyTree:
  """Returns the statistics of one batch of frames f16[B, N, F]."""
  windows, _ = grid_windows(frames, num_frames, band_mean, band_std, settings)
  # Averages that start at zero: the step adds the batch's statistics, scaled.
  nothing = jax.tree.map(jnp.zeros_like, variables['batch_stats'])
  _, changed = model.apply(
    {**variables, 'batch_stats': nothing},
    windows,
    train=True,
    mutable=['batch_stats'],
  )
  return jax.tree.map(lambda x: x / (1 - NORM_MOMENTUM), changed['batch_stats'])
