"""Compares the networks on an accelerator with its limits and with PyTorch.

Needs jax, flax, optax and ml_collections, optionally PyTorch, and no
tensorflow. First it measures the limits of the device with a large matrix
product and a copy; then the six networks by precision and batch size, and the
encoder; then epochs with their data on the device, of the published C-RNN
(18,225 windows) and of our CNN on FMA-small (8,000 excerpts). Also runs on CPU,
where only --toy is useful.

  python -m benchmarks.accelerator
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from benchmarks import encoder
from benchmarks.device_epoch import EPOCHS, time_epochs
from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  seconds_of,
  set_up_beside_torch,
  spread,
  write_results,
)
from benchmarks.networks import NAMES, batch_shape, network_config
from benchmarks.peers.jax_peer import JaxPeer

_DTYPES = ('float32', 'bfloat16')
_ENCODER_BATCHES = (16, 256, 1024)


def ceilings(toy: bool) -> dict[str, float]:
  """Measures FLOP/s of a matrix product by dtype, and bytes/s of a copy."""
  size = 256 if toy else 8192
  at_least_s = 0.01 if toy else 1.0
  found = {}

  def measure(function: Callable, *args: jax.Array) -> float:
    last = [function(*args)]

    def call() -> None:
      last[0] = function(*args)

    return seconds_of(call, lambda: jax.block_until_ready(last), at_least_s)

  for dtype in _DTYPES:
    x = jnp.ones((size, size), dtype)
    seconds = measure(jax.jit(jnp.matmul), x, x)
    found[f'{dtype}_flops'] = 2 * size**3 / seconds
  x = jnp.ones((4 * size, size), jnp.float32)
  found['bytes'] = 2 * x.nbytes / measure(jax.jit(lambda x: x + 1), x)
  return found


def peers(config: ConfigDict, shape: tuple, compiled: bool) -> dict[str, Any]:
  """Creates our network, and PyTorch's if it is installed for the device."""
  made: dict[str, Any] = {'jax': JaxPeer(config, shape, 'default')}
  if importlib.util.find_spec('torch'):
    import torch

    from benchmarks.peers.torch_peer import TorchPeer

    device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
    if device == 'cpu' or torch.cuda.is_available():
      for variant in ('eager', 'compile')[: 1 + compiled]:
        made[f'torch/{variant}'] = TorchPeer(config, shape, variant, device)
  return made


def compare(
  network: str, dtype: str, batch_size: int, limits: dict, args: Any
) -> dict:
  """Times a network at one precision and batch size, alternating frameworks."""
  config = network_config(network, args.toy)
  config.model.dtype, config.train.batch_size = dtype, batch_size
  shape = batch_shape(config)
  windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  label = np.arange(batch_size) % config.model.num_genres
  made = peers(config, shape, not args.no_compile)
  placed = {name: peer.place(windows, label) for name, peer in made.items()}
  found: dict[str, Any] = {}
  for what, method in (('train', 'train_step'), ('infer', 'infer')):

    def measure(name: str, method: str = method) -> float:
      peer = made[name]
      call = functools.partial(getattr(peer, method), placed[name])
      seconds = seconds_of(call, peer.wait, 0.01 if args.toy else 0.3)
      return shape[0] * shape[1] / seconds

    calls = {name: functools.partial(measure, name) for name in made}
    in_turn(calls, 1)  # compile
    speeds = in_turn(calls, 1 if args.toy else args.rounds)
    flops, touched = made['jax'].flops_and_bytes(placed['jax'], what)
    steps_per_s = np.median(speeds['jax']) / (shape[0] * shape[1])
    found[what] = {
      'windows_per_s': {name: spread(x) for name, x in speeds.items()},
      'ratio': {
        name: ratio(speeds['jax'], x)
        for name, x in speeds.items()
        if name != 'jax'
      },
      'flops_per_s': flops * steps_per_s,
      'of_flops_ceiling': flops * steps_per_s / limits[f'{dtype}_flops'],
      'bytes_per_s': touched * steps_per_s,
      'of_bytes_ceiling': touched * steps_per_s / limits['bytes'],
    }
    ratios = [
      f'{format_ratio(x)} {name}' for name, x in found[what]['ratio'].items()
    ]
    print(
      f'{network} {what} {dtype} batch {batch_size}: '
      f'{np.median(speeds["jax"]):.0f} windows/s, '
      f"{found[what]['of_flops_ceiling']:.0%} of a matrix product's FLOP/s, "
      f"{found[what]['of_bytes_ceiling']:.0%} of a copy's bytes/s; "
      + ', '.join(ratios),
      flush=True,
    )
  return found


def compare_networks(limits: dict, args: Any) -> dict[str, dict]:
  """Compares the chosen networks, by `network dtype batch_size`."""
  networks, sizes = ('crnn',) if args.toy else NAMES, args.batch_sizes
  if args.networks:
    networks = args.networks.split(',')
  return {
    f'{network} {dtype} {size}': compare(network, dtype, size, limits, args)
    for network in networks
    for dtype in args.dtypes.split(',')
    for size in ((4,) if args.toy else map(int, sizes.split(',')))
  }


def compare_encoder(args: Any) -> dict[int, dict]:
  """Compares the encoder with PyTorch, by batch size."""
  compiled = not (args.no_compile or args.toy)
  if args.toy:
    return {2: encoder.compare(2, compiled, 1, 0.01)}
  return {
    size: encoder.compare(size, compiled, args.rounds, 0.3)
    for size in _ENCODER_BATCHES
  }


def epochs_on_device(args: Any) -> dict[str, dict]:
  """Times epochs, by `network dtype`."""
  return {
    f'{network} {dtype}': time_epochs(
      network, size, length, dtype, args.toy, 1 if args.toy else args.epochs
    )
    for network, size, length in (EPOCHS[:1] if args.toy else EPOCHS)
    for dtype in args.dtypes.split(',')
  }


def main() -> None:
  """Prints the limits of the device, then a line for each measurement."""
  flags = parser(__doc__)
  flags.add_argument(
    '--parts',
    default='networks,encoder,epochs',
    help='what to measure, comma-separated; default: all',
  )
  flags.add_argument(
    '--networks', help='comma-separated; default: all, with --toy crnn'
  )
  flags.add_argument(
    '--dtypes', default=','.join(_DTYPES), help='comma-separated'
  )
  flags.add_argument(
    '--batch_sizes', default='32,128,512', help='in excerpts, comma-separated'
  )
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument('--epochs', type=int, default=5)
  flags.add_argument(
    '--no_compile', action='store_true', help='skip torch.compile'
  )
  args = flags.parse_args()
  set_up_beside_torch(args.toy)
  device = jax.devices()[0].device_kind
  limits = ceilings(args.toy)
  print(f'{device}: ' + ', '.join(f'{k} {x:.3g}/s' for k, x in limits.items()))
  parts: dict[str, Callable[[], dict]] = {
    'networks': lambda: compare_networks(limits, args),
    'encoder': lambda: compare_encoder(args),
    'epochs': lambda: epochs_on_device(args),
  }
  results = {name: parts[name]() for name in args.parts.split(',')}
  write_results({'device': device, 'ceilings': limits, **results}, args.json)


if __name__ == '__main__':
  main()
