"""From the start of a process to its first training step, and what it compiles.

A fresh process each time: without JAX's cache of compiled code, with an empty
one, and with one that an earlier process filled. Each function is compiled
once, which is checked.

  python -m benchmarks.startup
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.measure import in_turn, parser, ratio, spread, tell, told
from benchmarks.networks import NAMES, batch_shape, network_config


def seconds_to_first_step(network: str, toy: bool, **env: str) -> float:
  """Runs a process; returns the seconds from its start to the step's end.

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
  return json.loads(done.stdout)['first_step_s'] - start_s


def _child(network: str, toy: bool) -> None:
  """Takes two steps, and says when the first was done."""
  from mgc_jax import runtime

  runtime.set_up()
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
  print(json.dumps({'first_step_s': first_step_s}))


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
    with tempfile.TemporaryDirectory() as full:

      def measure(
        folder: str | None, network: str = network, on: bool = True
      ) -> float:
        with tempfile.TemporaryDirectory() as empty:
          return seconds_to_first_step(
            network,
            args.toy,
            JAX_COMPILATION_CACHE_DIR=folder or empty,
            JAX_ENABLE_COMPILATION_CACHE=str(on).lower(),
          )

      measure(full)
      seconds = in_turn(
        {
          'none': lambda: measure(None, on=False),
          'empty': lambda: measure(None),
          'filled': lambda full=full: measure(full),
        },
        1 if args.toy else args.rounds,
      )
    gain = ratio(seconds['none'], seconds['filled'])
    results[network] = {
      'seconds': {name: spread(x) for name, x in seconds.items()},
      'ratio': gain,
    }
    times = ', '.join(f'{k} {np.median(x):.1f} s' for k, x in seconds.items())
    print(f'{network}: the first step {told(gain)} sooner from the cache')
    print(f'    cache: {times}', flush=True)
  tell({'networks': results}, args.json)


if __name__ == '__main__':
  main()
