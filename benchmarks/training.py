"""Compares the wall time of training to a given accuracy with Keras.

Trains the baseline's CNN on the synthetic corpus with the same windows, batches
and optimiser settings, each in a new process, including imports and
compilation, until the accuracy on windows of other artists is reached. Keras
trains with `fit`, as users do; ours uses the step of `mgc_jax.main` with the
user's compilation cache, as by default. Both evaluate on the other artists
after each epoch.

  python -m benchmarks.training
"""

import functools
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from benchmarks.networks import network_config
from mgc_jax.audio.log_mel import log_mel
from mgc_jax.datasets.sources import synthetic

_MAX_EPOCHS = 60
_NETWORK = 'baseline/cnn'


def write_windows(path: pathlib.Path, toy: bool) -> None:
  """Writes windows and genres of training artists and of other artists.

  Args:
    path: the `.npz` to write: standardised `train_x` f32[n, T, F], `train_y`
      i64[n], `valid_x` and `valid_y`.
    toy: whether to use fewer and shorter tracks, and tiny windows.
  """
  config = network_config(_NETWORK, toy)
  sizes = config.data.synthetic
  if toy:
    sizes.num_artists, sizes.tracks_per_artist, sizes.duration_s = 2, 1, 6.0
  size, genres = config.windows.num_frames, list(synthetic.GENRES)
  arrays: dict[str, list] = {'train': [], 'valid': []}
  tracks = synthetic.list_tracks(config.data)
  artists = sorted({track.artist for track in tracks})
  for track in tracks:
    waveform = synthetic.render(track.path, config.features.sample_rate_hz)
    frames = log_mel(waveform, config.features)
    split = 'valid' if artists.index(track.artist) % 4 == 0 else 'train'
    for start in range(0, len(frames) - size + 1, size):
      row = frames[start : start + size], genres.index(track.genre)
      arrays[split].append(row)
  mean = np.mean([x for x, _ in arrays['train']])
  std = np.std([x for x, _ in arrays['train']])
  found = {}
  for split, rows in arrays.items():
    x = np.stack([x for x, _ in rows])
    found[f'{split}_x'] = ((x - mean) / std).astype(np.float32)
    found[f'{split}_y'] = np.array([y for _, y in rows])
  np.savez(path, **found)


def _by_jax(config, data, seed: int) -> Iterator[np.ndarray]:
  """Yields i64[n] predictions for other artists' windows after each epoch."""
  from benchmarks.peers.jax_peer import JaxPeer
  from mgc_jax.system import jax_runtime

  jax_runtime.set_up()
  x, y, size = data['train_x'], data['train_y'], config.train.batch_size
  config.seed = seed
  peer = JaxPeer(config, (size, *x.shape[1:]), 'default')
  rng = np.random.default_rng(seed)
  while True:
    order = rng.permutation(len(x))
    for start in range(0, len(x) - size + 1, size):
      rows = order[start : start + size]
      peer.train_step(peer.place(x[rows], y[rows]))
    yield _predictions(peer.logits, data['valid_x'], size)


def _by_keras(config, data, seed: int) -> Iterator[np.ndarray]:
  """Yields predictions like `_by_jax`."""
  from benchmarks.peers.keras_peer import KerasPeer, keras

  keras.utils.set_random_seed(seed)
  x, y, size = data['train_x'], data['train_y'], config.train.batch_size
  peer = KerasPeer(config, (size, *x.shape[1:]))
  targets = np.eye(config.model.num_genres, dtype=np.float32)[y][:, None]
  count = len(x) // size * size
  while True:
    peer.network.fit(
      x[:count], targets[:count], batch_size=size, epochs=1, verbose=0
    )
    yield _predictions(peer.logits, data['valid_x'], size)


_WAYS = {'mgc_jax': _by_jax, 'keras': _by_keras}


def _predictions(logits: Callable, x: np.ndarray, size: int) -> np.ndarray:
  found = []
  for start in range(0, len(x), size):
    part = x[start : start + size]
    padded = np.zeros((size, *part.shape[1:]), np.float32)
    padded[: len(part)] = part
    found.append(logits(padded)[: len(part), 0].argmax(axis=-1))
  return np.concatenate(found)


def _child(way: str, path: str, wanted: float, seed: int, toy: bool) -> None:
  """Trains until the accuracy is reached; prints epochs and accuracy."""
  data = dict(np.load(path))
  config = network_config(_NETWORK, toy)
  config.model.num_genres = len(synthetic.GENRES)
  for split in ('train', 'valid'):
    data[f'{split}_x'] = data[f'{split}_x'][:, None]  # one window an example
  epochs = itertools.islice(_WAYS[way](config, data, seed), _MAX_EPOCHS)
  accuracies = []
  for predictions in epochs:
    accuracies.append(float((predictions == data['valid_y']).mean()))
    if accuracies[-1] >= wanted:
      break
  else:
    raise SystemExit(f'only {accuracies[-1]:.0%} after {_MAX_EPOCHS} epochs')
  print(json.dumps({'epochs': len(accuracies), 'accuracy': accuracies[-1]}))


def main() -> None:
  """Prints the ratio of wall times, and the epochs of each framework."""
  flags = parser(__doc__)
  flags.add_argument('--rounds', type=int, default=3, help='number of seeds')
  flags.add_argument(
    '--accuracy', type=float, default=0.7, help='window accuracy to reach'
  )
  flags.add_argument('--child', choices=_WAYS, help='internal: train once')
  flags.add_argument('--windows', help='internal: the file of windows')
  flags.add_argument('--seed', type=int, default=0)
  args = flags.parse_args()
  if args.child:
    _child(args.child, args.windows, args.accuracy, args.seed, args.toy)
    return
  wanted = 0.0 if args.toy else args.accuracy
  ends: dict[str, list[dict]] = {way: [] for way in _WAYS}
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'windows.npz'
    write_windows(path, args.toy)

    def train_s(way: str) -> float:
      command = [sys.executable, '-m', 'benchmarks.training', f'--child={way}']
      command += [f'--windows={path}', f'--accuracy={wanted}']
      command += [f'--seed={len(ends[way])}', *['--toy'] * args.toy]
      start_s = time.perf_counter()
      done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, text=True
      )
      seconds = time.perf_counter() - start_s
      ends[way].append(json.loads(done.stdout.splitlines()[-1]))
      return seconds

    calls = {way: functools.partial(train_s, way) for way in _WAYS}
    seconds = in_turn(calls, 1 if args.toy else args.rounds)
  against = ratio(seconds['keras'], seconds['mgc_jax'])
  for way, runs in ends.items():
    epochs = ', '.join(str(end['epochs']) for end in runs)
    print(f'{way}: {spread(seconds[way])["median"]:.0f} s, epochs {epochs}')
  print(
    f'to {wanted:.0%} window accuracy Keras takes {format_ratio(against)} '
    'our time'
  )
  result = {'ratio': against, 'ends': ends, 'accuracy': wanted}
  write_results(
    {**result, 'seconds': {w: spread(x) for w, x in seconds.items()}}, args.json
  )


if __name__ == '__main__':
  main()
