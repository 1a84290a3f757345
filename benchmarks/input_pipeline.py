"""The input pipeline alone against the training step, in windows a second.

python -m benchmarks.input_pipeline
"""

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from mgc_jax.config import base_config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.splits import make_splits
from mgc_jax.input_pipeline import Reader
from mgc_jax.models import create_model
from mgc_jax.optim import create_optimizer
from mgc_jax.train import epoch_order
from mgc_jax.train_state import create_state, train_step


def pipeline_windows_per_s(batches: Iterator, windows: int) -> float:
  """Drains the pipeline; the first batch, which starts it, is not timed."""
  next(batches)
  start_s, count = time.perf_counter(), 0
  for batch in batches:
    count += len(batch['label']) * windows
  return count / (time.perf_counter() - start_s)


def step_windows_per_s(
  config: ConfigDict, batch: dict, num_steps: int, windows: int
) -> float:
  """Repeats the training step on one batch; compilation is not timed."""
  model, tx = create_model(config), create_optimizer(config.train, 10)
  frozen = FrozenConfigDict(config)
  bands = np.zeros(config.features.num_bands, np.float32)
  state = create_state(model, tx, frozen, bands, bands + 1)
  step = jax.jit(
    functools.partial(train_step, model=model, tx=tx, config=frozen),
    donate_argnums=0,
  )
  placed, key = jax.device_put(batch), jax.random.key(0)
  state, _ = step(state, placed, key)
  jax.block_until_ready(state)
  start_s = time.perf_counter()
  for _ in range(num_steps):
    state, _ = step(state, placed, key)
  jax.block_until_ready(state)
  seconds = time.perf_counter() - start_s
  return num_steps * len(batch['label']) * windows / seconds


def main() -> None:
  """Prints a ratio for each model."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--toy', action='store_true', help='seconds, no meaning')
  toy = parser.parse_args().toy
  config = base_config()
  config.data.synthetic.num_artists = 3
  config.data.synthetic.tracks_per_artist = 1 if toy else 4
  if toy:
    config.data.synthetic.duration_s = 6.0
    config.windows.num_frames = config.windows.hop_frames = 32
    config.model.cnn.filters = (4,) * 5
  windows, epochs, num_steps = config.windows.num_windows, 1 if toy else 20, 8
  with tempfile.TemporaryDirectory() as folder:
    config.data.prepared_dir = folder
    prepared = prepare(config)
    train = make_splits(prepared, config).sides['train']
    size = config.train.batch_size
    order = np.concatenate(
      [epoch_order(len(train), size, 0, epoch) for epoch in range(epochs)]
    )
    reader = Reader(prepared.index)
    batch = next(reader.batches(train, order, size))
    results = {}
    for name in ('cnn', 'lstm', 'crnn')[2 * toy :]:
      config.model.name = name
      step = step_windows_per_s(config, batch, 1 if toy else num_steps, windows)
      pipeline = pipeline_windows_per_s(
        reader.batches(train, order, size), windows
      )
      ratio = pipeline / step
      results[name] = {'ratio': ratio, 'pipeline': pipeline, 'step': step}
      print(
        f'{name}: the pipeline delivers {ratio:.1f} x what the step takes '
        f'({pipeline:.0f} against {step:.0f} windows/s)'
      )
  print(json.dumps(results))


if __name__ == '__main__':
  main()
