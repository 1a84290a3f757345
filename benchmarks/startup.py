"""Times the start of commands, and of training up to its first step.

`--help` shows what every use of a command costs before it does anything; it is
compared with the start of Python alone.

The first step is timed in new processes: without JAX's compilation cache, with
an empty one, and with one that an earlier process filled. Each function must be
compiled only once.

  python -m benchmarks.startup
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from benchmarks.networks import NAMES, batch_shape, network_config

# Words after `python -m mgc_jax`; '' is `mgc --help` itself.
COMMANDS = ('', 'predict', 'collection', 'train', 'prepare', 'sweep', 'leakage')


def help_seconds(rounds: int) -> dict[str, dict]:
  """Times `mgc <command> --help`, as `python -m mgc_jax` runs it.

  Args:
    rounds: how often each command is started, alternating with the others.

  Returns:
    The `seconds` of each command and their `ratio` to the start of Python
    alone, which has the key `python`.

  Raises:
    RuntimeError: a command printed no help.
  """

  def start(arguments: list[str]) -> float:
    start_s = time.perf_counter()
    done = subprocess.run(
      [sys.executable, *arguments], stdout=subprocess.PIPE, check=False
    )
    seconds = time.perf_counter() - start_s
    if '--help' in arguments and not done.stdout:
      raise RuntimeError(f'{" ".join(arguments)}: printed nothing')
    return seconds

  measured = {'python': functools.partial(start, ['-c', 'pass'])}
  for command in COMMANDS:
    arguments = ['-m', 'mgc_jax', *command.split(), '--help']
    measured[f'mgc {command}'.strip()] = functools.partial(start, arguments)
  seconds = in_turn(measured, rounds)
  return {
    name: {'seconds': spread(x), 'ratio': ratio(x, seconds['python'])}
    for name, x in seconds.items()
  }


def seconds_to_first_step(
  network: str, toy: bool, **env: str
) -> tuple[float, int]:
  """Runs a process; returns the seconds to the end of its step, and cache hits.

  Args:
    network: one of `networks.NAMES`.
    toy: whether to make the network tiny.
    **env: environment variables of the process.

  Raises:
    subprocess.CalledProcessError: it failed, or a function compiled twice.
  """
  command = [sys.executable, '-m', 'benchmarks.startup', '--child', network]
  start_s = time.time()
  done = subprocess.run(
    [*command, *['--toy'] * toy],
    env={**os.environ, **env},
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  found = json.loads(done.stdout)
  return found['first_step_s'] - start_s, found['cache_hits']


def _child(network: str, toy: bool) -> None:
  """Runs in the child process: takes two steps, prints when the first ended."""
  from mgc_jax.system import jax_runtime

  jax_runtime.set_up()
  events: list[str] = []
  jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
  from benchmarks.peers.jax_peer import JaxPeer

  config = network_config(network, toy)
  shape = batch_shape(config)
  peer = JaxPeer(config, shape, 'default')
  rng = np.random.default_rng(0)
  windows = rng.normal(size=shape).astype(np.float32)
  placed = peer.place(windows, np.zeros(len(windows), np.int64))
  peer.train_step(placed)
  peer.wait()
  first_step_s = time.time()
  peer.train_step(placed)
  peer.infer(placed)
  peer.infer(placed)
  for name, count in peer.num_compilations().items():
    if count != 1:
      raise RuntimeError(f'{network}: {name} was compiled {count} times')
  hits = events.count('/jax/compilation_cache/cache_hits')
  print(json.dumps({'first_step_s': first_step_s, 'cache_hits': hits}))


def compare(network: str, rounds: int, toy: bool) -> dict:
  """Times processes without a cache, with an empty one and with a filled one.

  Args:
    network: one of `networks.NAMES`.
    rounds: the number of processes of each kind.
    toy: whether to make the network tiny.

  Returns:
    `seconds` by kind, `cache_hits` by kind, and the `ratio` of no cache to a
    filled one.
  """
  hits: dict[str, int] = {}
  with tempfile.TemporaryDirectory() as cache:

    def measure(kind: str) -> float:
      if kind == 'empty':
        shutil.rmtree(cache)
        os.mkdir(cache)
      seconds, hits[kind] = seconds_to_first_step(
        network,
        toy,
        JAX_COMPILATION_CACHE_DIR=cache,
        JAX_ENABLE_COMPILATION_CACHE=str(kind != 'none').lower(),
      )
      return seconds

    kinds = ('none', 'empty', 'filled')  # empty fills it
    seconds = in_turn(
      {kind: functools.partial(measure, kind) for kind in kinds}, rounds
    )
  return {
    'seconds': {kind: spread(x) for kind, x in seconds.items()},
    'cache_hits': hits,
    'ratio': ratio(seconds['none'], seconds['filled']),
  }


def main() -> None:
  """Prints the time of `--help` by command, and the gain of the cache."""
  flags = parser(__doc__)
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument('--child', help='internal: take steps of this network')
  args = flags.parse_args()
  if args.child:
    _child(args.child, args.toy)
    return
  helps = help_seconds(1 if args.toy else max(args.rounds, 5))
  print(f'Python alone: {helps["python"]["seconds"]["median"]:.2f} s')
  for name, found in helps.items():
    if name == 'python':
      continue
    seconds, times = found['seconds']['median'], format_ratio(found['ratio'])
    print(f'{name} --help: {seconds:.2f} s, {times} Python alone', flush=True)
  results = {}
  for network in NAMES[-1:] if args.toy else NAMES:
    found = compare(network, 1 if args.toy else args.rounds, args.toy)
    results[network] = found
    times = [f'{k} {x["median"]:.1f} s' for k, x in found['seconds'].items()]
    print(
      f'{network}: with the cache the first step is '
      f'{format_ratio(found["ratio"])} as fast '
      f'({", ".join(times)})',
      flush=True,
    )
  write_results({'help': helps, 'networks': results}, args.json)


if __name__ == '__main__':
  main()
