"""Measures preparation on a Dask cluster against processes of this machine.

The cluster is a scheduler and one or two workers on this machine, started as
launch/dask.sh does. Prints tracks per second, for which the time for the first
tracks is subtracted; the time per part without any work; and how the memory of
the process that collects the results grows with their number.

  python -m benchmarks.cluster --root=$DATA/emotify_mp3
"""

import contextlib
import os
import pathlib
import resource
import shlex
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
from benchmarks.preparation import write_music
from mgc_jax.cluster import part_file, parts
from mgc_jax.cluster.attempts import Attempts
from mgc_jax.config.schema import Config, base_config
from mgc_jax.datasets.excerpts import try_excerpts
from mgc_jax.datasets.prepared_parts import PreparedParts
from mgc_jax.datasets.track import Track
from mgc_jax.datasets.workers import map_tracks

_ROOT = pathlib.Path(__file__).parents[1]
_FEW = 4  # tracks whose time is subtracted
_PART_SHAPE = (32 * 387, 128)  # the frames of 32 excerpts of 30 s
_TIMES = (1, 4, 16)  # as many parts
_PORT = 8799


@contextlib.contextmanager
def running(num_workers: int, port: int) -> Iterator[str]:
  """Runs a cluster on this machine; yields the scheduler's address.

  Args:
    num_workers: the number of worker processes.
    port: of the scheduler.
  """
  import distributed

  done = subprocess.run(
    [_ROOT / 'launch' / 'dask.sh', '--dry_run', 'local'],
    env={**os.environ, 'NUM_WORKERS': str(num_workers), 'PORT': str(port)},
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  address = f'tcp://127.0.0.1:{port}'
  started = []
  try:
    for line in done.stdout.splitlines():
      words = shlex.split(line)
      started.append(
        subprocess.Popen(words, cwd=_ROOT, stderr=subprocess.DEVNULL)
      )
    with distributed.Client(address, timeout=60) as client:
      client.wait_for_workers(num_workers, timeout=60)
    yield address
  finally:
    for process in reversed(started):
      process.terminate()
      process.wait()


def _local_s(tracks: list[Track], config: Config, num_workers: int) -> float:
  """Returns the seconds that processes of this machine take."""
  data = config.data
  arguments = (config.features, data.min_duration_s, data.on_damage)
  start_s = time.perf_counter()
  for _ in map_tracks(try_excerpts, tracks, arguments, num_workers, 'local'):
    pass
  return time.perf_counter() - start_s


def _cluster_s(tracks: list[Track], config: Config, address: str) -> float:
  """Returns the seconds that a cluster takes."""
  with tempfile.TemporaryDirectory() as folder:
    prepared = PreparedParts(
      tracks, config.features, config.data, pathlib.Path(folder), address
    )
    start_s = time.perf_counter()
    for _ in prepared.outcomes():
      pass
    return time.perf_counter() - start_s


def nothing(part: parts.Part, attempts: Attempts) -> dict[str, np.ndarray]:
  """Runs in a worker and does nothing."""
  del part, attempts
  return {}


def frames(part: parts.Part, attempts: Attempts) -> dict[str, np.ndarray]:
  """Runs in a worker; returns as much as the frames of a full part."""
  del part, attempts
  return {'frames': np.zeros(_PART_SHAPE, np.float16)}


def _collected_s(address: str, compute: parts.Compute, count: int) -> float:
  """Returns the seconds for so many parts, whose files are deleted."""
  with tempfile.TemporaryDirectory() as folder:
    made = [
      parts.Part(pathlib.Path(folder) / f'{i}{part_file.SUFFIX}', (i,))
      for i in range(count)
    ]
    start_s = time.perf_counter()
    for part, _ in parts.computed(
      address, parts.Job(compute, (), 'benchmark'), made
    ):
      part.path.unlink()
    return time.perf_counter() - start_s


def _driver_mib(address: str, count: int) -> float:
  """Returns the peak memory of a new process that collects so many parts."""
  command = [sys.executable, '-m', 'benchmarks.cluster']
  done = subprocess.run(
    [*command, f'--collect={count}', f'--address={address}'],
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  return float(done.stdout)


def measure(
  root: pathlib.Path, num_tracks: int, rounds: int, num_parts: int
) -> dict:
  """Measures everything.

  Args:
    root: music as `<root>/*/*.mp3`.
    num_tracks: how many of them to prepare.
    rounds: how often each variant is timed.
    num_parts: the parts of the smallest job without work.
  """
  paths = sorted(root.glob('*/*.mp3'))[:num_tracks]
  tracks = [Track(str(i), str(x), 'genre') for i, x in enumerate(paths)]
  config = Config.from_dict(base_config())

  def speed(seconds: Callable[[list[Track]], float]) -> float:
    net_s = seconds(tracks) - seconds(tracks[:_FEW])
    return (len(tracks) - _FEW) / net_s

  found: dict = {'num_tracks': len(tracks), 'tracks_per_s': {}}
  for count in (1, 2):
    with running(count, _PORT + count) as address:

      def local(count: int = count) -> float:
        return speed(lambda some: _local_s(some, config, count))

      def dask(address: str = address) -> float:
        return speed(lambda some: _cluster_s(some, config, address))

      _cluster_s(tracks[:_FEW], config, address)  # imports
      speeds = in_turn({'local': local, 'dask': dask}, rounds)
      found['tracks_per_s'][count] = {
        **{name: spread(x) for name, x in speeds.items()},
        'ratio': ratio(speeds['dask'], speeds['local']),
      }
      if count == 2:
        _collected_s(address, nothing, _FEW)
        net_s = _collected_s(address, nothing, num_parts)
        found['part_s'] = net_s / num_parts
        found['driver_mib'] = {
          times * num_parts // 16: _driver_mib(address, times * num_parts // 16)
          for times in _TIMES
        }
  return found


def main() -> None:
  """Prints the results."""
  flags = parser(__doc__)
  flags.add_argument('--root', type=pathlib.Path, help='<root>/*/*.mp3')
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument('--max_tracks', type=int, default=207)
  flags.add_argument('--collect', type=int, help='internal: so many parts')
  flags.add_argument('--address', help='internal: of --collect')
  args = flags.parse_args()
  if args.collect:
    _collected_s(args.address, frames, args.collect)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    return
  with tempfile.TemporaryDirectory() as folder:
    root = (args.root or pathlib.Path(folder)).resolve()
    if not args.root:
      write_music(root, *((3.0, 2) if args.toy else (30.0, 15)))
    sizes = (8, 1, 16) if args.toy else (args.max_tracks, args.rounds, 512)
    found = measure(root, *sizes)
  for count, row in found['tracks_per_s'].items():
    print(
      f'{count} workers: dask {row["dask"]["median"]:.1f} tracks/s, '
      f'{format_ratio(row["ratio"])} of as many local processes '
      f'({row["local"]["median"]:.1f})'
    )
  print(f'a part without work: {found["part_s"] * 1000:.1f} ms')
  for count, mib in found['driver_mib'].items():
    print(f'peak memory of the driver for {count} parts: {mib:.0f} MiB')
  write_results(found, args.json)


if __name__ == '__main__':
  main()
