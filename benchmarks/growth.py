"""Measures how time and peak memory grow with the number of tracks.

Each step is a command in a new process, on generated music with 1, 2, 4 and 8
times as many tracks. The time for 24 tracks is subtracted before fitting an
exponent; 1 means linear time. Memory should not grow. A straight line through
the measurements extrapolates both to a large collection.

  python -m benchmarks.growth
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.measure import parser, write_results
from benchmarks.preparation import write_music

_TIMES = (1, 2, 4, 8)
_TRACKS_PER_ARTIST = 4  # two genres with two tracks each
START_TRACKS = 24  # the minimum for a split
_LARGE = 100_000  # tracks


def commands(
  music: pathlib.Path, scratch: pathlib.Path, toy: bool
) -> dict[str, list]:
  """Returns the commands to measure; each one uses the output of those before.

  Args:
    music: a folder with `<genre>/<track>.mp3`.
    scratch: an empty folder for their output.
    toy: whether to train a tiny model, and to use it in what follows.
  """
  network = 'smoke' if toy else 'cnn'
  tiny = ['--config.model.name=lstm'] * toy  # the quickest to compile
  data = [
    f'--config=configs/{network}.py',
    '--config.data.source=folder',
    f'--config.data.root={music}',
    f'--config.data.prepared_dir={scratch / "prepared"}',
    '--config.data.num_workers=1',
  ]
  train = [
    f'--workdir={scratch / "run"}',
    '--config.train.num_epochs=1',
    '--config.train.batch_size=8',
  ]
  index = f'--index={scratch / "index.sqlite"}'
  # The shipped model takes longer than all else that a toy run does.
  model = [f'--model={scratch / "run"}'] * toy
  return {
    'prepare': ['mgc_jax', 'prepare', *data],
    'train one epoch': ['mgc_jax.main', *data, *train, *tiny],
    'predict': ['mgc_jax.predict', str(music), '--format=csv', *model],
    'index': ['mgc_jax.collection', 'index', str(music), index, *model],
  }


def measure(command: list[str]) -> tuple[float, float]:
  """Runs a command; returns its seconds and its peak memory in MiB."""
  start_s = time.perf_counter()
  process = subprocess.Popen(
    [sys.executable, '-m', *command],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  with process.stderr:
    stderr = process.stderr.read()
  _, status, usage = os.wait4(process.pid, 0)
  process.returncode = os.waitstatus_to_exitcode(status)
  if process.returncode:
    raise RuntimeError(f'{" ".join(command)}: {stderr}')
  unit = 2**20 if sys.platform == 'darwin' else 2**10  # macOS reports bytes
  return time.perf_counter() - start_s, usage.ru_maxrss / unit


def exponent(sizes: list[int], seconds: list[float], start_s: float) -> float:
  """Fits p in `seconds - start_s = c * (sizes - START_TRACKS) ** p`."""
  more = np.array(sizes) - START_TRACKS
  net_s = np.maximum(np.array(seconds) - start_s, 1e-3)
  return float(np.polyfit(np.log(more), np.log(net_s), 1)[0])


def extrapolated(sizes: list[int], values: list[float]) -> float:
  """Fits a straight line; returns its value for a large collection."""
  slope, start = np.polyfit(sizes, values, 1)
  return float(start + slope * _LARGE)


def main() -> None:
  """Prints a line for each command."""
  flags = parser(__doc__)
  flags.add_argument(
    '--tracks', type=int, default=40, help='tracks in the smallest collection'
  )
  args = flags.parse_args()
  sizes = [args.tracks * factor for factor in _TIMES]
  if args.toy:
    sizes = [START_TRACKS + 4, START_TRACKS + 8]
  seconds: dict[str, list[float]] = {}
  peaks: dict[str, list[float]] = {}
  # All but the last of these only fill the caches of compiled code. A toy run
  # subtracts nothing.
  starts = [] if args.toy else [START_TRACKS] * 2
  with tempfile.TemporaryDirectory() as folder:
    music = pathlib.Path(folder) / 'music'
    for size in [*starts, *sizes]:
      num_artists = size // _TRACKS_PER_ARTIST
      write_music(music, 3.0 if args.toy else 30.0, num_artists)
      with tempfile.TemporaryDirectory() as scratch:
        measured = commands(music, pathlib.Path(scratch), args.toy)
        for name, command in measured.items():
          taken_s, peak_mib = measure(command)
          seconds.setdefault(name, []).append(taken_s)
          peaks.setdefault(name, []).append(peak_mib)
  results = {}
  for name, all_s in seconds.items():
    start_s = all_s[len(starts) - 1] if starts else 0.0
    taken = all_s[len(starts) :]
    peak_mib = peaks[name][len(starts) :]
    results[name] = {
      'tracks': sizes,
      'seconds': taken,
      'start_s': start_s,
      'peak_mib': peak_mib,
      'exponent': exponent(sizes, taken, start_s),
      'large': {
        'tracks': _LARGE,
        'seconds': extrapolated(sizes, taken),
        'peak_mib': extrapolated(sizes, peak_mib),
      },
    }
    large = results[name]['large']
    print(
      f'{name:16} {taken[0]:.1f} to {taken[-1]:.1f} s, exponent '
      f'{results[name]["exponent"]:.2f}; peak memory {peak_mib[0]:.0f} to '
      f'{peak_mib[-1]:.0f} MiB; {_LARGE:,} tracks, extrapolated: '
      f'{large["seconds"] / 3600:.1f} h, {large["peak_mib"]:.0f} MiB'
    )
  write_results({'commands': results}, args.json)


if __name__ == '__main__':
  main()
