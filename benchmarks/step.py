"""Compares a training step and inference with PyTorch and Keras on TensorFlow.

Times six networks: those of the published description in configs/baseline/, and
ours. All frameworks get the same windows, batch size and number of cores, and
must have the same number of parameters and, with the same weights, the same
logits. Ours is the whole training step, which also cuts and standardises the
windows; the others get them ready. Inference is also timed with our networks as
`mgc export --format=onnx` writes them, in onnxruntime and OpenVINO if they are
installed; `exported` is the faster one.

  python -m benchmarks.step
  python -m benchmarks.step --networks=baseline/cnn --ablation
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from benchmarks.networks import NAMES
from benchmarks.peers import jax_variants
from benchmarks.worker import LocalWorker, Worker
from mgc_jax.inference.onnx_model import runtimes

_OURS = 'jax/default'
_PEERS = (
  'torch/eager',
  'torch/channels_last',
  'torch/compile',
  'keras/default',
)
# Our networks as they are exported; only compared in inference.
_EXPORTED = tuple(f'onnx/{name}' for name in runtimes.RUNTIMES)
# One allocator for all. It keeps freed memory, as glibc does in our step.
_JEMALLOC = (
  '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2',
  '/usr/lib/aarch64-linux-gnu/libjemalloc.so.2',
)
_KEEPS = 'dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always'
_LOGIT_TOLERANCE = 2e-3  # for logits up to about 1; the order of sums differs


def compare(
  network: str,
  peers: Sequence[str],
  *,
  env: dict[str, str],
  rounds: int,
  seconds: float,
  toy: bool,
) -> dict:
  """Times several implementations of a network, alternating.

  Args:
    network: one of `networks.NAMES`.
    peers: frameworks with variants; the first is compared with the others.
    env: environment variables of their processes.
    rounds: how often each one is timed.
    seconds: the minimum duration of each round.
    toy: whether to make the networks tiny.

  Returns:
    `train` and `infer`, each with windows per second by peer and the ratio of
    the first peer to every other; `peak_mib` by peer.

  Raises:
    RuntimeError: the implementations do not compute the same.
  """
  with contextlib.ExitStack() as stack:
    workers = {}
    for peer in peers:
      workers[peer] = Worker(network, peer, toy, **env)
      stack.callback(workers[peer].close)
    check_same(network, workers)
    found: dict = {'peak_mib': {}}
    for what in ('train', 'infer'):
      timed = [x for x in peers if what == 'infer' or x not in _EXPORTED]

      def measure(peer: str, what: str = what) -> float:
        reply = workers[peer].call(what, seconds=seconds)
        found['peak_mib'][peer] = reply['peak_mib']
        return reply['windows_per_s']

      figures = in_turn({p: lambda p=p: measure(p) for p in timed}, rounds)
      ours = figures[peers[0]]
      found[what] = {
        'windows_per_s': {p: spread(x) for p, x in figures.items()},
        'ratio': {p: ratio(ours, figures[p]) for p in timed[1:]},
      }
      exported = [p for p in timed if p in _EXPORTED]
      if exported:
        others = [p for p in timed[1:] if p not in _EXPORTED]
        best, fastest = (
          max(names, key=lambda p: np.median(figures[p]))
          for names in (exported, others)
        )
        found[what]['exported'] = {
          'runtime': best,
          'ratio': ratio(figures[best], figures[fastest]),
        }
  return found


def check_same(
  network: str, workers: Mapping[str, Worker | LocalWorker]
) -> None:
  """Checks that parameter counts and logits are equal.

  Args:
    network: its name, for the message.
    workers: by framework and variant; all get the weights of the first one.

  Raises:
    RuntimeError: they differ.
  """
  first, *others = workers.values()
  with tempfile.TemporaryDirectory() as folder:
    path = str(pathlib.Path(folder) / 'weights.npz')
    first.call('save', path=path)
    wanted = np.array(first.call('logits', path=None)['logits'])
    for name, worker in zip(list(workers)[1:], others, strict=True):
      if worker.num_params != first.num_params:
        raise RuntimeError(
          f'{network}: {name} has {worker.num_params} parameters, ours '
          f'{first.num_params}'
        )
      found = np.array(worker.call('logits', path=path)['logits'])
      error = np.abs(found - wanted).max()
      if not error <= _LOGIT_TOLERANCE * max(1.0, np.abs(wanted).max()):
        raise RuntimeError(f'{network}: logits of {name} differ by {error}')


def _report(network: str, allocator: str, found: dict) -> None:
  for what in ('train', 'infer'):
    speeds = found[what]['windows_per_s']
    ours = next(iter(speeds))
    rest = [x for x in speeds if x not in (ours, *_EXPORTED)]
    fastest = max(rest, key=lambda x: speeds[x]['median'])
    found[what]['fastest'] = fastest
    ratios = found[what]['ratio']
    best = f'{format_ratio(ratios[fastest])} {fastest}, the fastest peer'
    alone = all(peer.startswith('jax/') for peer in speeds)
    print(
      f'{network} {what}, '
      + ('ours, and without' if alone else f'{allocator}: {best}')
    )
    for peer in speeds:
      times = '' if peer == ours else format_ratio(ratios[peer])
      peak = found['peak_mib'][peer]
      speed = speeds[peer]['median']
      print(f'    {peer:26}{speed:9.0f} windows/s {peak:7.0f} MiB  {times}')
    if exported := found[what].get('exported'):
      times = format_ratio(exported['ratio'])
      print(f'    exported, {exported["runtime"]}: {times} {fastest}')


def main() -> None:
  """Prints the ratio to the fastest peer, then to each one."""
  flags = parser(__doc__)
  flags.add_argument(
    '--networks', help='comma-separated; default: all, with --toy baseline/crnn'
  )
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument(
    '--seconds', type=float, default=1.5, help='minimum duration of a round'
  )
  flags.add_argument(
    '--ablation',
    action='store_true',
    help='compare with our step without each of its optimisations instead',
  )
  args = flags.parse_args()
  rounds, seconds = (1, 0.0) if args.toy else (args.rounds, args.seconds)
  allocators: dict[str, dict[str, str]] = {'as they come': {}}
  library = next((x for x in _JEMALLOC if pathlib.Path(x).exists()), None)
  if library and not args.ablation:
    allocators['all on jemalloc'] = {
      'LD_PRELOAD': library,
      'MALLOC_CONF': _KEEPS,
    }
  elif not args.ablation:
    print('no jemalloc (Debian: libjemalloc2): default allocators only')
  if args.toy:  # whose figures mean nothing
    for env in allocators.values():
      # Waiting threads would take most of the processor's time, and C++
      # compilers most of the rest.
      env.update(OMP_WAIT_POLICY='PASSIVE', TORCH_COMPILE_DISABLE='1')
  results: dict = {}
  networks = ('baseline/crnn',) if args.toy else NAMES
  if args.networks:
    networks = args.networks.split(',')
  for network in networks:
    for allocator, env in allocators.items():
      peers = (_OURS, *_PEERS)
      installed = filter(runtimes.is_installed, runtimes.RUNTIMES)
      peers += tuple(f'onnx/{name}' for name in installed)
      if args.ablation:
        variants = jax_variants.ABLATIONS[-2 if args.toy else 0 :]
        peers = (_OURS, *(f'jax/{x}' for x in variants))
      found = compare(
        network, peers, env=env, rounds=rounds, seconds=seconds, toy=args.toy
      )
      _report(network, allocator, found)
      results.setdefault(network, {})[allocator] = found
  write_results({'networks': results}, args.json)


if __name__ == '__main__':
  main()
