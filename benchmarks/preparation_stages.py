"""Times the stages of preparation on one core, and the gain of a second core.

Times decoding, resampling and log-mel frames, and compares them with a librosa
loop and a PyTorch `stft` loop that compute the same frames (which is checked),
and with the lower bound, decoding alone.

  python -m benchmarks.preparation_stages --root=$DATA/emotify_mp3
"""

import functools
import os
import pathlib
import shutil
import tempfile
import time

import librosa
import numpy as np
import soundfile
import soxr
from ml_collections import ConfigDict

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from benchmarks.preparation import write_music
from mgc_jax.audio.decode import ExcerptReader
from mgc_jax.audio.log_mel import log_mel
from mgc_jax.config.recipes import baseline_config
from mgc_jax.config.schema import base_config
from mgc_jax.datasets.prepare import prepare

_AMIN = 1e-10
_MAX_ERROR_DB = 0.01


def ours(path: pathlib.Path, features: ConfigDict) -> np.ndarray:
  """Returns f32[N, F] computed by this package."""
  rate_hz, excerpt_s = features.sample_rate_hz, features.excerpt_s
  ((_, samples),) = ExcerptReader(path, rate_hz, excerpt_s)
  return log_mel(samples, features)


def decoded(path: pathlib.Path, features: ConfigDict) -> np.ndarray:
  """Returns f32[L, channels] at the file's own rate: the lower bound."""
  return soundfile.read(path, dtype='float32', always_2d=True)[0]


def resampled(path: pathlib.Path, features: ConfigDict) -> np.ndarray:
  """Returns f32[L] at the features' rate."""
  rate_hz, excerpt_s = features.sample_rate_hz, features.excerpt_s
  ((_, samples),) = ExcerptReader(path, rate_hz, excerpt_s)
  return samples


def _samples(path: pathlib.Path, features: ConfigDict) -> np.ndarray:
  """Returns f32[L] as the other loops need it, with the same libraries."""
  samples, rate_hz = soundfile.read(path, dtype='float32', always_2d=True)
  length = round(features.excerpt_s * rate_hz)
  start = max(0, round((len(samples) - length) / 2))
  samples = samples[start : start + length]
  return soxr.resample(samples.mean(axis=1), rate_hz, features.sample_rate_hz)


def by_librosa(path: pathlib.Path, features: ConfigDict) -> np.ndarray:
  """Returns f32[N, F] computed by librosa."""
  power = librosa.feature.melspectrogram(
    y=_samples(path, features),
    sr=features.sample_rate_hz,
    n_fft=features.fft_samples,
    hop_length=features.hop_samples,
    n_mels=features.num_bands,
    fmin=features.min_frequency_hz,
    fmax=features.max_frequency_hz,
  )
  range_db = features.dynamic_range_db
  return librosa.power_to_db(power, amin=_AMIN, top_db=range_db).T


@functools.cache
def _torch_filters(features: tuple) -> object:
  import torch

  settings = dict(features)
  weights = librosa.filters.mel(
    sr=settings['sample_rate_hz'],
    n_fft=settings['fft_samples'],
    n_mels=settings['num_bands'],
    fmin=settings['min_frequency_hz'],
    fmax=settings['max_frequency_hz'],
  )
  return torch.from_numpy(weights)


def by_torch(path: pathlib.Path, features: ConfigDict) -> np.ndarray:
  """Returns f32[N, F] computed with torch.stft."""
  import torch

  filters = _torch_filters(tuple(features.items()))
  spectrum = torch.stft(
    torch.from_numpy(_samples(path, features)),
    features.fft_samples,
    features.hop_samples,
    window=torch.hann_window(features.fft_samples),
    pad_mode='constant',
    return_complex=True,
  )
  power = filters @ spectrum.abs().square()
  decibels = 10 * torch.log10(power.clamp(min=_AMIN))
  least = decibels.max() - features.dynamic_range_db
  return decibels.clamp(min=least).T.numpy()


def seconds_of(
  function, paths: list[pathlib.Path], features: ConfigDict
) -> float:
  """Returns the duration of a loop over files."""
  start_s = time.perf_counter()
  for path in paths:
    function(path, features)
  return time.perf_counter() - start_s


def prepare_s(root: pathlib.Path, num_workers: int) -> float:
  """Returns the duration of `prepare` with some number of workers."""
  config = baseline_config()
  config.data.source, config.data.root = 'folder', str(root)
  config.data.num_workers = num_workers
  with tempfile.TemporaryDirectory() as folder:
    config.data.prepared_dir = folder
    start_s = time.perf_counter()
    prepare(config)
    return time.perf_counter() - start_s


def main() -> None:
  """Prints the stages, ratios and scaling."""
  flags = parser(__doc__)
  flags.add_argument('--root', type=pathlib.Path, help='<root>/*/*.mp3')
  flags.add_argument('--rounds', type=int, default=3)
  args = flags.parse_args()
  rounds = 1 if args.toy else args.rounds
  features = base_config().features
  with tempfile.TemporaryDirectory() as folder:
    root = (args.root or pathlib.Path(folder) / 'music').resolve()
    if not args.root:
      write_music(root, *((3.0, 2) if args.toy else (30.0, 15)))
    paths = sorted(root.glob('*/*.mp3'))[:60]
    result = {'num_tracks': len(paths), **_on_one_core(paths, features, rounds)}
    few = _few(root, pathlib.Path(folder))
    prepare_s(few, 1)  # imports TensorFlow
    scaling, start = (
      {str(n): functools.partial(prepare_s, music, n) for n in (1, 2)}
      for music in (root, few)
    )
    whole, started = in_turn(scaling, rounds), in_turn(start, rounds)
    net = {
      n: np.maximum(np.subtract(whole[n], np.median(started[n])), 1e-3)
      for n in whole
    }
    result['two_processes'] = ratio(net['1'], net['2'])
  _print_results(result)
  write_results(result, args.json)


def _few(root: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Copies four tracks of each of two genres, to time the start."""
  for genre in sorted(path for path in root.iterdir() if path.is_dir())[:2]:
    to = folder / 'few' / genre.name
    to.mkdir(parents=True)
    for path in sorted(genre.glob('*.mp3'))[:4]:
      shutil.copy2(path, to)  # links out of a folder are not followed
  return folder / 'few'


def _on_one_core(
  paths: list[pathlib.Path], features: ConfigDict, rounds: int
) -> dict:
  ways = {'mgc_jax': ours, 'librosa': by_librosa}
  ways |= {'decode': decoded, 'decode and resample': resampled}
  try:
    import torch

    torch.set_num_threads(1)
    ways['torch'] = by_torch
  except ImportError:
    pass
  if hasattr(os, 'sched_setaffinity'):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
  wanted = ours(paths[0], features)
  errors_db = {}
  for name in ways.keys() & {'librosa', 'torch'}:
    found = ways[name](paths[0], features)[: len(wanted)]
    errors_db[name] = float(np.abs(found - wanted[: len(found)]).mean())
    if errors_db[name] > _MAX_ERROR_DB:
      raise RuntimeError(f'{name}: frames differ by {errors_db[name]} dB')
  calls = {
    name: functools.partial(seconds_of, way, paths, features)
    for name, way in ways.items()
  }
  seconds = in_turn(calls, rounds)
  if hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, before)
  return {
    'tracks_per_s': {
      n: len(paths) / spread(x)['median'] for n, x in seconds.items()
    },
    'ratio': {n: ratio(x, seconds['mgc_jax']) for n, x in seconds.items()},
    'mean_error_db': errors_db,
  }


def _print_results(result: dict) -> None:
  for name, speed in result['tracks_per_s'].items():
    print(
      f'{name:20} {speed:6.1f} tracks/s on one core; takes '
      f"{format_ratio(result['ratio'][name])} of mgc_jax's time"
    )
  for name, error in result['mean_error_db'].items():
    print(f'{name}: frames differ by {error:.4f} dB on average')
  print(f'two processes: {format_ratio(result["two_processes"])} one')


if __name__ == '__main__':
  main()
