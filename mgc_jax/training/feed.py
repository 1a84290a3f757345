"""Runs training steps on examples that are streamed or reside on the device.

Both feeds visit the examples in the given order, so that they see the same
batches and end with the same weights.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from mgc_jax.distributed.mesh import (
  process_part,
  put_on_all,
  replicated,
  shard_batch,
)
from mgc_jax.system.errors import ConfigError
from mgc_jax.training.memory import free_bytes, free_host_bytes
from mgc_jax.training.step import TrainState
from mgc_jax.training.window_sums import WindowSums

if TYPE_CHECKING:  # decoding and tensorflow: not needed with another reader
  from mgc_jax.datasets.reader import Reader
  from mgc_jax.datasets.splits import Examples

_logger = logging.getLogger(__name__)

Step = Callable[..., tuple[TrainState, WindowSums]]
Advanced = tuple[TrainState, WindowSums, int]

STEPS_PER_CHUNK = 64  # steps that are one call on accelerators
_AUTO_SHARE = 0.25  # of the free memory, which training needs as well
_MAX_SHARE = 0.8
_LOAD_BATCH = 64
# One call, whatever the number of sums.
_merge = jax.jit(WindowSums.merge)


def epoch_order(
  num_examples: int,
  batch_size: int,
  seed: int,
  epoch: int,
  num_members: int = 1,
) -> np.ndarray:
  """Returns the order in which an epoch visits the examples.

  Args:
    num_examples: n; every member of the model visits each of them once.
    batch_size: B. If the last batch is not full, each member's part of it is
      filled with the first examples of that member's order.
    seed: `config.seed`.
    epoch: counted from 0.
    num_members: M; row b of a batch belongs to member b % M.

  Returns:
    i64[steps * B], for ceil(n / (B / M)) steps.
  """
  rng = np.random.default_rng([seed, epoch])
  share = batch_size // num_members
  size = -(-num_examples // share) * share
  orders = [
    np.resize(rng.permutation(num_examples), size) for _ in range(num_members)
  ]
  return np.stack(orders, axis=1).ravel()


def genre_weights(label: np.ndarray, num_genres: int) -> np.ndarray:
  """Returns weights f64[C], inverse to each genre's share of the examples.

  Args:
    label: i64[n], the genre of each training example.
    num_genres: C; if all genres are equally frequent, the weights are 1.
  """
  counts = np.bincount(label, minlength=num_genres)
  return len(label) / (num_genres * np.maximum(counts, 1))


class Streamed:
  """Reads each batch from the records while the previous step runs."""

  def __init__(
    self,
    step: Step,
    reader: 'Reader',
    examples: 'Examples',
    genre_weights: np.ndarray | None,
    mesh: Mesh,
  ):
    """Stores the arguments; opens no file.

    Args:
      step: `step.train_step` with its static arguments bound.
      reader: reads the records.
      examples: the training split.
      genre_weights: f64[C], each example's weight by genre; None means ones.
      mesh: the devices that share each batch.
    """
    self._step = jax.jit(step, donate_argnums=0, out_shardings=replicated(mesh))
    self._reader, self._examples = reader, examples
    self._weights, self._mesh = genre_weights, mesh

  def run(
    self, state: TrainState, sums: WindowSums, order: np.ndarray, key: jax.Array
  ) -> Iterator[Advanced]:
    """Trains on (the rest of) an epoch.

    Args:
      state: to start from; donated.
      sums: over the steps of the epoch that are done already.
      order: i64[steps, B], indices of the examples in each batch.
      key: the run's key, from which each step derives its own.

    Yields:
      The next state, the sums including it, and the number of steps since the
      previous state. The device may still be computing them.

    Raises:
      DataError: a record is damaged.
    """
    batches = self._reader.batches(
      self._examples,
      order.ravel(),
      order.shape[1],
      self._weights,
      process_part(),
    )
    for batch in batches:
      placed = shard_batch(batch, self._mesh)
      state, found = self._step(state, placed, key)
      sums = _merge(sums, found)
      yield state, sums, 1


class Resident:
  """Keeps all examples on every device; the host sends only their indices."""

  def __init__(
    self,
    step: Step,
    reader: 'Reader',
    examples: 'Examples',
    genre_weights: np.ndarray | None,
    mesh: Mesh,
    in_chunks: bool | None = None,
  ):
    """Loads the examples.

    Args:
      step: as for `Streamed`.
      reader: as for `Streamed`; used here and not again.
      examples: the training split, all of which is loaded.
      genre_weights: as for `Streamed`.
      mesh: the devices that share each batch; each holds all examples.
      in_chunks: whether many steps are one call. By default they are, except
        on CPU, where convolutions in a loop are slow.

    Raises:
      DataError: a record is damaged.
    """
    if in_chunks is None:
      in_chunks = jax.default_backend() != 'cpu'
    rows = NamedSharding(mesh, PartitionSpec('data'))
    whole = replicated(mesh)
    # Not fused with the step, so that on CPU the bits are those of Streamed.
    self._take = jax.jit(_take, out_shardings=rows)
    self._step = jax.jit(step, donate_argnums=0, out_shardings=whole)
    # The sums are not donated: the caller reads those of the chunk before.
    self._chunk = jax.jit(
      functools.partial(_run_chunk, step=step, rows=rows),
      donate_argnums=0,
      out_shardings=whole,
    )
    self._in_chunks = in_chunks
    self._mesh = mesh
    self._data = load_examples(reader, examples, genre_weights, mesh)

  def run(
    self, state: TrainState, sums: WindowSums, order: np.ndarray, key: jax.Array
  ) -> Iterator[Advanced]:
    """Trains on (the rest of) an epoch; see `Streamed.run`."""
    order = order.astype(np.int32)
    if not self._in_chunks:
      for ids in put_on_all(list(order), self._mesh):
        batch = self._take(self._data, ids)
        state, found = self._step(state, batch, key)
        sums = _merge(sums, found)
        yield state, sums, 1
      return
    for start in range(0, len(order), STEPS_PER_CHUNK):
      chunk = order[start : start + STEPS_PER_CHUNK]
      # Padded, so that the last chunk is not compiled again.
      ids = np.resize(chunk, (STEPS_PER_CHUNK, order.shape[1]))
      count = len(chunk)
      placed = put_on_all((ids, np.array(count, np.int32)), self._mesh)
      state, sums = self._chunk(state, sums, self._data, *placed, key)
      yield state, sums, count


def resident_bytes(examples: 'Examples', num_bands: int) -> int:
  """Returns the memory that the examples take on a device."""
  longest = int(examples.num_frames.max())
  return len(examples) * longest * num_bands * np.dtype(np.float16).itemsize


def is_resident(cache: str, needed: int) -> bool:
  """Returns whether the training split is to be loaded onto the device.

  Args:
    cache: `config.data.cache`.
    needed: `resident_bytes` of the training split.

  Raises:
    ConfigError: `cache` demands it, and the split does not fit.
  """
  if cache == 'none':
    return False
  # On its way the split is one array in the host's memory.
  if jax.default_backend() == 'cpu':
    needed *= 1 + jax.local_device_count()
    free = free_host_bytes()
  else:
    free = min(free_bytes(), free_host_bytes())
  if cache == 'auto':
    return needed <= free * _AUTO_SHARE
  if needed > free * _MAX_SHARE:
    raise ConfigError(
      'config.data.cache=device: loading the training split takes '
      f'{needed / 2**30:.2f} GiB, but only {_MAX_SHARE:.0%} of the '
      f'{free / 2**30:.2f} GiB that are free may be used; set '
      'config.data.cache=none to stream it'
    )
  return True


def load_examples(
  reader: 'Reader',
  examples: 'Examples',
  genre_weights: np.ndarray | None,
  mesh: Mesh,
) -> dict[str, jax.Array]:
  """Reads all examples and puts them on every device.

  Args:
    reader: reads the records.
    examples: the training split.
    genre_weights: f64[C], each example's weight by genre; None means ones.
    mesh: the devices.

  Returns:
    The columns of the reader's batches, with a row for each example.
  """
  size = len(examples)
  batches = tqdm(
    reader.batches(examples, np.arange(size), _LOAD_BATCH, genre_weights),
    'load onto the device',
    -(-size // _LOAD_BATCH),
    leave=False,
    disable=None,
  )
  whole: dict[str, np.ndarray] = {}
  for i, batch in enumerate(batches):
    at = slice(i * _LOAD_BATCH, min(size, (i + 1) * _LOAD_BATCH))
    for name, rows in batch.items():
      if name not in whole:
        whole[name] = np.empty((size, *rows.shape[1:]), rows.dtype)
      whole[name][at] = rows[: at.stop - at.start]
  return put_on_all(whole, mesh)


def _take(data: dict[str, jax.Array], ids: jax.Array) -> dict[str, jax.Array]:
  return {name: rows[ids] for name, rows in data.items()}


def _run_chunk(
  state: TrainState,
  sums: WindowSums,
  data: dict[str, jax.Array],
  ids: jax.Array,
  num_steps: jax.Array,
  key: jax.Array,
  *,
  step: Step,
  rows: NamedSharding,
) -> tuple[TrainState, WindowSums]:
  """Runs `num_steps` steps on the first so many batches of ids i32[S, B]."""

  def body(
    i: jax.Array, carry: tuple[TrainState, WindowSums]
  ) -> tuple[TrainState, WindowSums]:
    """Runs step i of the chunk."""
    state, sums = carry
    batch = jax.lax.with_sharding_constraint(_take(data, ids[i]), rows)
    state, found = step(state, batch, key)
    return state, sums.merge(found)

  return jax.lax.fori_loop(jnp.int32(0), num_steps, body, (state, sums))
