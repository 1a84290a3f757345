"""Times epochs of published sizes with their data on the device."""

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

# Network, number of examples of an epoch, and epochs of a whole run: the
# published experiment, and FMA-small with excerpts of 30 s.
EPOCHS = (('baseline/crnn', 18_225, 100), ('cnn', 8_000, 20))


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


def time_epochs(
  network: str,
  num_examples: int,
  run_epochs: int,
  dtype: str,
  toy: bool,
  num_epochs: int,
) -> dict[str, float]:
  """Times epochs of a network with the data on the device.

  Args:
    network: one of `networks.NAMES`.
    num_examples: the size of an epoch.
    run_epochs: the length of a whole run.
    dtype: the type of the activations.
    toy: whether to use a tiny network and epoch.
    num_epochs: the number of timed epochs, after one that compiles.

  Returns:
    `epoch_s`, `whole_run_s` for `run_epochs`, `windows_per_s`, and
    `host_share`, the fraction of an epoch in which the host is busy
    dispatching work.
  """
  config = network_config(network, toy)
  config.model.dtype = dtype
  size, num_windows, window_frames, bands = batch_shape(config)
  num = 20 if toy else num_examples
  length = num_windows * window_frames
  if config.features.max_frames:
    length = max(length, config.features.max_frames)
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
    'whole_run_s': epoch_s * run_epochs,
    'windows_per_s': order.size * num_windows / epoch_s,
    'host_share': float(np.median(host[1:])) / epoch_s,
  }
  print(
    f'{network} {dtype}, epochs of {num} examples on the device: '
    f'{epoch_s:.3f} s, {run_epochs} in {found["whole_run_s"]:.0f} s; the host '
    f'is busy for {found["host_share"]:.1%} of one',
    flush=True,
  )
  return found
