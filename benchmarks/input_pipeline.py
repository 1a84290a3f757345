"""Measures the input pipeline's speed and its cost in an epoch.

Compares tf.data alone with the training step; then whole epochs with the
training split streamed from disk or resident on the device, alternating. The
host's share is the fraction of an epoch in which no step runs.

  python -m benchmarks.input_pipeline
"""

import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from mgc_jax.config.schema import Config, base_config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import make_splits
from mgc_jax.distributed.mesh import data_mesh, replicate
from mgc_jax.models import create_model
from mgc_jax.system import jax_runtime
from mgc_jax.training.feed import Resident, Streamed, epoch_order
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.step import create_state, train_step
from mgc_jax.training.window_sums import WindowSums


def pipeline_windows_per_s(batches: Iterator, windows: int) -> float:
  """Times the pipeline, without the first batch, which starts it."""
  next(batches)
  start_s, count = time.perf_counter(), 0
  for batch in batches:
    count += len(batch['label']) * windows
  return count / (time.perf_counter() - start_s)


class Epochs:
  """Trains epochs with one kind of feed."""

  def __init__(
    self, feed: type, config: ConfigDict, reader: Reader, train: Any
  ):
    """Compiles the step.

    Args:
      feed: the class, Streamed or Resident.
      config: a complete, valid configuration.
      reader: reads the records of the examples.
      train: the examples of the training split.
    """
    self._size, self._num = config.train.batch_size, len(train)
    frozen = Config.from_dict(config)
    model, tx = create_model(frozen), create_optimizer(frozen.train, 10)
    mesh = data_mesh()
    step = functools.partial(train_step, model=model, tx=tx, config=frozen)
    self._feed = feed(step, reader, train, None, mesh)
    if jax.default_backend() == 'cpu':  # the call returns after the step
      self._feed._step = self._timed(self._feed._step)
    mean, std = reader.index.band_stats(train.rows)
    self._state, self._sums, self._key = replicate(
      (
        create_state(model, tx, frozen, mean, std),
        WindowSums.of([]),
        jax.random.key(0),
      ),
      mesh,
    )
    self.host_shares: list[float] = []
    self.run()
    self.host_shares.clear()

  def run(self) -> float:
    """Trains for an epoch; returns the examples per second."""
    order = epoch_order(self._num, self._size, 0, len(self.host_shares))
    order = order.reshape(-1, self._size)
    self._step_s, start_s = 0.0, time.perf_counter()
    sums = replicate(self._sums, data_mesh())
    steps = self._feed.run(self._state, sums, order, self._key)
    *_, (self._state, sums, _) = steps
    sums.compute()  # waits for the device
    seconds = time.perf_counter() - start_s
    # On other devices the step still runs after the call has returned.
    on_cpu = jax.default_backend() == 'cpu'
    share = 1 - self._step_s / seconds if on_cpu else float('nan')
    self.host_shares.append(share)
    return order.size / seconds

  def _timed(self, step: Callable) -> Callable:
    def timed(*args: Any) -> Any:
      start_s = time.perf_counter()
      found = jax.block_until_ready(step(*args))
      self._step_s += time.perf_counter() - start_s
      return found

    return timed


def main() -> None:
  """Prints the ratios for each model."""
  flags = parser(__doc__)
  flags.add_argument('--rounds', type=int, default=5)
  args = flags.parse_args()
  toy, rounds = args.toy, 1 if args.toy else args.rounds
  jax_runtime.set_up()
  config = base_config()
  config.data.synthetic.num_artists = 3
  config.data.synthetic.tracks_per_artist = 1 if toy else 4
  if toy:
    config.data.synthetic.duration_s = 3.0
    config.data.num_workers = 1
    config.features.num_bands = 32
    config.windows.num_frames = config.windows.hop_frames = 16
    config.model.cnn.filters = config.model.cnn.pool_frames = (4, 4)
    config.model.cnn.pool_bands, config.model.cnn.dropout = (4, 4), (0.0, 0.1)
    config.model.lstm.hidden_size = 8
    config.train.batch_size = 8
  windows, size = config.windows.num_windows, config.train.batch_size
  results = {}
  with tempfile.TemporaryDirectory() as folder:
    config.data.prepared_dir = folder
    prepared = prepare(config)
    train = make_splits(prepared, config).examples['train']
    order = np.concatenate(
      [epoch_order(len(train), size, 0, e) for e in range(1 if toy else 20)]
    )
    reader = Reader(prepared.index)
    alone = pipeline_windows_per_s(reader.batches(train, order, size), windows)
    print(f'tf.data alone: {alone:.0f} windows/s', flush=True)
    for name in ('cnn', 'lstm', 'crnn')[2 * toy :]:
      config.model.name = name
      feeds = {
        'streamed': Epochs(Streamed, config, reader, train),
        'resident': Epochs(Resident, config, reader, train),
      }
      speeds = in_turn({k: feed.run for k, feed in feeds.items()}, rounds)
      result = {
        'resident_to_streamed': ratio(speeds['resident'], speeds['streamed']),
        'pipeline_to_epoch': alone / np.median(speeds['resident']) / windows,
        'host_share': {k: spread(f.host_shares) for k, f in feeds.items()},
        'examples_per_s': {k: spread(x) for k, x in speeds.items()},
      }
      results[name] = result
      shares = {k: x['median'] for k, x in result['host_share'].items()}
      print(
        f'{name}: resident {format_ratio(result["resident_to_streamed"])} '
        f'streamed; host {shares["resident"]:.1%} of an epoch resident, '
        f'{shares["streamed"]:.1%} streamed; the pipeline could deliver '
        f'{result["pipeline_to_epoch"]:.0f} x what training consumes',
        flush=True,
      )
  write_results({'pipeline_windows_per_s': alone, 'models': results}, args.json)


if __name__ == '__main__':
  main()
