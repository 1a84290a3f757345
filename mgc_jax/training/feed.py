"""Runs training steps over examples that are streamed or lie on the device.

Both visit the examples in the order that they are given, so that they yield
the same batches and end with the same weights.
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

_AUTO_SHARE = 0.25  # of the free memory, which training needs as well
_MAX_SHARE = 0.8
_STEPS_PER_PIECE = 64  # on accelerators; between them progress is shown
_LOAD_BATCH = 64


def epoch_order(
  num_examples: int,
  batch_size: int,
  seed: int,
  epoch: int,
  num_members: int = 1,
) -> np.ndarray:
  """Returns the order in which an epoch visits the examples.

  Args:
    num_examples: n; every member of the model visits every one.
    batch_size: B; each member's order is filled up from its own start to whole
      shares of a batch.
    seed: `config.seed`.
    epoch: from 0.
    num_members: M; row b of a batch is of member b % M.

  Returns:
    i64[steps * B], of ceil(n / (B / M)) steps.
  """
  rng = np.random.default_rng([seed, epoch])
  share = batch_size // num_members
  size = -(-num_examples // share) * share
  orders = [
    np.resize(rng.permutation(num_examples), size) for _ in range(num_members)
  ]
  return np.stack(orders, axis=1).ravel()


def genre_weights(label: np.ndarray, num_genres: int) -> np.ndarray:
  """Returns f64[C], the inverse of each genre's share; 1 where all are equal.

  Args:
    label: i64[n] of the training examples.
    num_genres: C.
  """
  counts = np.bincount(label, minlength=num_genres)
  return len(label) / (num_genres * np.maximum(counts, 1))


class Streamed:
  """Reads every batch from the records, while the step before it runs."""

  def __init__(
    self,
    step: Step,
    reader: 'Reader',
    examples: 'Examples',
    genre_weights: np.ndarray | None,
    mesh: Mesh,
  ):
    """Opens nothing yet.

    Args:
      step: `train_state.train_step`, static arguments bound.
      reader: of the records.
      examples: the training split.
      genre_weights: f64[C], or None for ones.
      mesh: of `data_mesh`.
    """
    self._step = jax.jit(step, donate_argnums=0, out_shardings=replicated(mesh))
    self._reader, self._examples = reader, examples
    self._weights, self._mesh = genre_weights, mesh

  def run(
    self, state: TrainState, sums: WindowSums, order: np.ndarray, key: jax.Array
  ) -> Iterator[Advanced]:
    """Trains on a part of an epoch.

    Args:
      state: donated.
      sums: of the epoch's steps before.
      order: i64[steps, B] into the examples.
      key: of the run.

    Yields:
      The next state, the sums up to it, and how many steps that were.

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
      sums = sums.merge(found)
      yield state, sums, 1


class Resident:
  """Holds all examples on every device; the host passes on their numbers."""

  def __init__(
    self,
    step: Step,
    reader: 'Reader',
    examples: 'Examples',
    genre_weights: np.ndarray | None,
    mesh: Mesh,
    in_pieces: bool | None = None,
  ):
    """Loads the examples.

    Args:
      step: as in `Streamed`.
      reader: likewise.
      examples: likewise.
      genre_weights: likewise.
      mesh: likewise.
      in_pieces: whether many steps are one call; by default not on CPU, where
        convolutions in a loop are slow.

    Raises:
      DataError: a record is damaged.
    """
    if in_pieces is None:
      in_pieces = jax.default_backend() != 'cpu'
    rows = NamedSharding(mesh, PartitionSpec('data'))
    whole = replicated(mesh)
    # Apart from the step on CPU, so that it computes the same bits as Streamed.
    self._take = jax.jit(_take, out_shardings=rows)
    self._step = jax.jit(step, donate_argnums=0, out_shardings=whole)
    self._piece = jax.jit(
      functools.partial(_run_piece, step=step, rows=rows),
      donate_argnums=(0, 1),
      out_shardings=whole,
    )
    self._in_pieces = in_pieces
    self._mesh = mesh
    self._data = _load(reader, examples, genre_weights, mesh)

  def run(
    self, state: TrainState, sums: WindowSums, order: np.ndarray, key: jax.Array
  ) -> Iterator[Advanced]:
    """As `Streamed.run`."""
    order = order.astype(np.int32)
    if not self._in_pieces:
      for ids in put_on_all(list(order), self._mesh):
        batch = self._take(self._data, ids)
        state, found = self._step(state, batch, key)
        sums = sums.merge(found)
        yield state, sums, 1
      return
    for start in range(0, len(order), _STEPS_PER_PIECE):
      piece = order[start : start + _STEPS_PER_PIECE]
      # Of one shape, so that the last piece does not compile anew.
      ids = np.resize(piece, (_STEPS_PER_PIECE, order.shape[1]))
      count = len(piece)
      placed = put_on_all((ids, np.array(count, np.int32)), self._mesh)
      state, sums = self._piece(state, sums, self._data, *placed, key)
      yield state, sums, count


def resident_bytes(examples: 'Examples', num_bands: int) -> int:
  """Returns what the examples take on a device."""
  longest = int(examples.num_frames.max())
  return len(examples) * longest * num_bands * np.dtype(np.float16).itemsize


def is_resident(cache: str, needed: int) -> bool:
  """Decides where the training split lies.

  Args:
    cache: `config.data.cache`.
    needed: bytes on a device, of `resident_bytes`.

  Returns:
    Whether it is to lie there.

  Raises:
    ConfigError: it is to lie on the device, and does not fit.
  """
  if cache == 'none':
    return False
  # It passes through the host's memory as one array.
  if jax.default_backend() == 'cpu':
    needed *= 1 + jax.local_device_count()
    free = free_host_bytes()
  else:
    free = min(free_bytes(), free_host_bytes())
  if cache == 'auto':
    return needed <= free * _AUTO_SHARE
  if needed > free * _MAX_SHARE:
    raise ConfigError(
      'config.data.cache=device: to load the training split takes '
      f'{needed / 2**30:.2f} GiB, and of the {free / 2**30:.2f} GiB free '
      f'{_MAX_SHARE:.0%} may be used; set config.data.cache=none to stream it'
    )
  return True


def _load(
  reader: 'Reader',
  examples: 'Examples',
  genre_weights: np.ndarray | None,
  mesh: Mesh,
) -> dict[str, jax.Array]:
  """Reads all examples onto every device."""
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


def _run_piece(
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
  """Runs `num_steps` steps; i32[P, B] ids, of which so many rows are used."""

  def body(
    i: jax.Array, carry: tuple[TrainState, WindowSums]
  ) -> tuple[TrainState, WindowSums]:
    """Runs step i of the piece."""
    state, sums = carry
    batch = jax.lax.with_sharding_constraint(_take(data, ids[i]), rows)
    state, found = step(state, batch, key)
    return state, sums.merge(found)

  return jax.lax.fori_loop(jnp.int32(0), num_steps, body, (state, sums))
