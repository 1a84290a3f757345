"""From the start of a process to its first training step, and what it compiles.

A fresh process each time: without JAX's cache of compiled code, with an empty
one, and with one that an earlier process filled. Each function is compiled
once, which is checked.

  python -m benchmarks.startup
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from benchmarks.measure import in_turn, parser, ratio, spread, tell, told
from benchmarks.networks import NAMES, batch_shape, network_config


def seconds_to_first_step(
  network: str, toy: bool, **env: str
) -> tuple[float, int]:
  """Runs a process; returns seconds to the step's end, and hits of the cache.

  Args:
    network: of `networks.NAMES`.
    toy: a tiny network.
    **env: of the process.

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
  """Takes two steps, and says when the first was done."""
  from mgc_jax import runtime

  runtime.set_up()
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
  """Times processes without the cache, with an empty and with a filled one.

  Args:
    network: of `networks.NAMES`.
    rounds: processes of each kind.
    toy: a tiny network.

  Returns:
    `seconds` by kind, `cache_hits` by kind, and the `ratio` of no cache to a
    filled one.
  """
  hits: dict[str, int] = {}
  with tempfile.TemporaryDirectory() as full:

    def measure(kind: str) -> float:
      with tempfile.TemporaryDirectory() as empty:
        seconds, hits[kind] = seconds_to_first_step(
          network,
          toy,
          JAX_COMPILATION_CACHE_DIR=full if kind == 'filled' else empty,
          JAX_ENABLE_COMPILATION_CACHE=str(kind != 'none').lower(),
        )
        return seconds

    measure('filled')
    kinds = ('none', 'empty', 'filled')
    seconds = in_turn(
      {kind: functools.partial(measure, kind) for kind in kinds}, rounds
    )
  return {
    'seconds': {kind: spread(x) for kind, x in seconds.items()},
    'cache_hits': hits,
    'ratio': ratio(seconds['none'], seconds['filled']),
  }


def main() -> None:
  """Prints what the cache gives, by network."""
  flags = parser(__doc__)
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument('--child', help='a network: take its steps, say when')
  args = flags.parse_args()
  if args.child:
    _child(args.child, args.toy)
    return
  results = {}
  for network in NAMES[-1:] if args.toy else NAMES:
    found = compare(network, 1 if args.toy else args.rounds, args.toy)
    results[network] = found
    times = [f'{k} {x["median"]:.1f} s' for k, x in found['seconds'].items()]
    print(
      f'{network}: the first step {told(found["ratio"])} sooner from the cache '
      f'({", ".join(times)})',
      flush=True,
    )
  tell({'networks': results}, args.json)


if __name__ == '__main__':
  main()
