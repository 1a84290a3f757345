"""Profiles a step: the time of each compiled operation.

XLA records when each operation of the compiled program (HLO) ran. Their sum may
exceed the time of the step, because some run in parallel, or be less than it,
if an operation continues in other threads.

  python -m benchmarks.profile --network=baseline/cnn --what=train
"""

import collections
import pathlib
import re
import tempfile
import time
from typing import Any

import jax
import numpy as np

from benchmarks.measure import parser, write_results
from benchmarks.networks import batch_shape, network_config
from benchmarks.peers.jax_peer import JaxPeer

_OPERATION = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = (\S+) ')
_ORIGIN = re.compile(r'op_name="([^"]*)"')
_WARM_UP_CALLS, _CALLS = 4, 8


def profile(peer: JaxPeer, placed: Any, what: str) -> dict:
  """Profiles several calls.

  Args:
    peer: the network to profile.
    placed: what `peer.place` returned.
    what: train or infer.

  Returns:
    `step_ms`, and `operations`, sorted by time: rows with `ms`, `share` of the
    step, the name of the `operation`, its `shape`, and its `origin` in the
    model.
  """
  function = {'train': peer.train_step, 'infer': peer.infer}[what]
  for _ in range(_WARM_UP_CALLS):
    function(placed)
  peer.wait()
  known = _operations(peer.program(placed, what))
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      start_s = time.perf_counter()
      for _ in range(_CALLS):
        function(placed)
      peer.wait()
      step_ms = (time.perf_counter() - start_s) / _CALLS * 1e3
    (path,) = pathlib.Path(folder).glob('**/*.xplane.pb')
    recorded = jax.profiler.ProfileData.from_file(str(path))
    spent: collections.Counter = collections.Counter()
    for plane in recorded.planes:
      for line in plane.lines:
        for event in line.events:
          if event.name in known:
            spent[event.name] += event.duration_ns / 1e6 / _CALLS
  rows = []
  for name, ms in spent.most_common():
    shape, origin = known[name]
    rows.append(
      {
        'ms': ms,
        'share': ms / step_ms,
        'operation': name,
        'shape': shape,
        'origin': origin,
      }
    )
  return {'step_ms': step_ms, 'operations': rows}


def _operations(program: str) -> dict[str, tuple[str, str]]:
  """Returns the shape and origin of each operation in a program's HLO text."""
  found = {}
  for line in program.splitlines():
    if operation := _OPERATION.match(line):
      origin = _ORIGIN.search(line)
      origin = origin[1] if origin else ''
      backward = 'backward ' if 'transpose(' in origin else ''
      parts = [x for x in origin.split('/') if not x.startswith('jit(')]
      parts = [x for x in parts if 'jvp(' not in x]
      shape = operation[2].partition('{')[0]
      found[operation[1]] = (shape, backward + '/'.join(parts))
  return found


def main() -> None:
  """Prints the table."""
  flags = parser(__doc__)
  flags.add_argument('--network', default='baseline/cnn')
  flags.add_argument('--what', choices=['train', 'infer'], default='train')
  flags.add_argument('--rows', type=int, default=20)
  args = flags.parse_args()
  config = network_config(args.network, args.toy)
  shape = batch_shape(config)
  peer = JaxPeer(config, shape, 'default')
  windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  label = np.arange(len(windows)) % config.model.num_genres
  found = profile(peer, peer.place(windows, label), args.what)
  print(f'{args.network}, {args.what}: {found["step_ms"]:.1f} ms')
  print(f'{"ms":>8}{"share":>8}  operation')
  for row in found['operations'][: args.rows]:
    print(
      f'{row["ms"]:8.2f}{row["share"]:8.1%}  {row["operation"]} '
      f'{row["shape"]} {row["origin"]}'
    )
  write_results(
    {'network': args.network, 'what': args.what, **found}, args.json
  )


if __name__ == '__main__':
  main()
