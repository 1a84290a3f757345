"""Times an epoch of the published size with its data on the device."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.networks import batch_shape, network_config
from mgc_jax.config.schema import Config
from mgc_jax.distributed.mesh import data_mesh, replicate
from mgc_jax.models import create_model
from mgc_jax.training.feed import Resident
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.step import create_state, train_step
from mgc_jax.training.window_sums import WindowSums

_EPOCH_WINDOWS = 18_225  # in the published experiment
_EPOCHS = 100


@dataclasses.dataclass
class _Examples:
  """The part of `datasets.splits.Examples` that `feed` needs."""

  num_frames: np.ndarray

  def __len__(self) -> int:
    return len(self.num_frames)


class _Arrays:
  """A reader of generated excerpts, with the methods that `feed` needs."""

  def __init__(self, frames: np.ndarray):
    self._frames = frames

  def batches(
    self, examples: Any, order: np.ndarray, size: int, *_: Any
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches like `datasets.reader.Reader.batches`."""
    for start in range(0, len(order), size):
      at = np.resize(order[start : start + size], size)
      yield {
        'frames': self._frames[at],
        'num_frames': np.full(size, self._frames.shape[1], np.int32),
        'label': (at % 10).astype(np.int32),
        'weight': np.ones(size, np.float32),
      }


def time_epochs(dtype: str, toy: bool, num_epochs: int) -> dict[str, float]:
  """Times epochs of the published C-RNN with the data on the device.

  Args:
    dtype: the type of the activations.
    toy: whether to use a tiny network and epoch.
    num_epochs: the number of timed epochs, after one that compiles.

  Returns:
    `epoch_s`, `whole_run_s` for 100 epochs, `windows_per_s`, and `host_share`,
    the fraction of an epoch in which the host is busy dispatching work.
  """
  config = network_config('baseline/crnn', toy)
  config.model.dtype = dtype
  size, _, length, bands = batch_shape(config)
  num = 20 if toy else _EPOCH_WINDOWS
  frames = np.random.default_rng(0).random((num, length, bands), np.float32)
  frozen = Config.from_dict(config)
  model, tx = create_model(frozen), create_optimizer(frozen.train, 10)
  mesh = data_mesh()
  step = functools.partial(train_step, model=model, tx=tx, config=frozen)
  examples = _Examples(np.full(num, length))
  feed = Resident(
    step, _Arrays(frames.astype(np.float16)), examples, None, mesh, True
  )
  zeros = np.zeros(bands, np.float32)
  start = create_state(model, tx, frozen, zeros, zeros + 1), WindowSums.of([])
  (state, sums), key = (replicate(x, mesh) for x in (start, jax.random.key(0)))
  rng, seconds, host = np.random.default_rng(0), [], []
  for _ in range(1 + num_epochs):
    order = np.resize(rng.permutation(num), (-(-num // size), size))
    start_s = time.perf_counter()
    steps = feed.run(state, sums, order, key)
    *_, (state, sums, _) = steps
    host.append(time.perf_counter() - start_s)
    jax.block_until_ready(sums)
    seconds.append(time.perf_counter() - start_s)
  epoch_s = float(np.median(seconds[1:]))
  found = {
    'epoch_s': epoch_s,
    'whole_run_s': epoch_s * _EPOCHS,
    'windows_per_s': order.size / epoch_s,
    'host_share': float(np.median(host[1:])) / epoch_s,
  }
  print(
    f'baseline/crnn {dtype}, epochs of {order.size} windows on the device: '
    f'{epoch_s:.3f} s, {_EPOCHS} in {found["whole_run_s"]:.0f} s; the host '
    f'is busy for {found["host_share"]:.1%} of one',
    flush=True,
  )
  return found
