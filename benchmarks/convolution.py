"""Compares implementations of convolution and pooling on CPU, by layer.

Times the forward pass, and the forward pass with both gradients, for the five
layers of the published CNN. The first implementation is ours; all must give
equal results.

  python -m benchmarks.convolution
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from mgc_jax.models.cpu.convolution import (
  max_pool,
  native_conv,
  product,
  product_conv,
)
from mgc_jax.models.cpu.pooled_convolution import conv_max_pool
from mgc_jax.system import jax_runtime

_LAYERS = (  # channels, frames, bands, filters, pool
  (1, 258, 128, 32, 2),
  (32, 128, 63, 32, 2),
  (32, 63, 30, 64, 2),
  (64, 30, 14, 128, 2),
  (128, 14, 6, 128, 3),
)
_KERNEL = 3


def _patches_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves as one product of whole patches, with JAX's gradients."""
  times, bands = (n - _KERNEL + 1 for n in x.shape[1:3])
  patches = jnp.concatenate(
    [
      x[:, i : i + times, j : j + bands]
      for i in range(_KERNEL)
      for j in range(_KERNEL)
    ]
  )
  weights = kernel.transpose(3, 0, 1, 2).reshape(kernel.shape[3], -1)
  return product(weights, patches)


def _channels_last(x: jax.Array, kernel: jax.Array, pool: int) -> jax.Array:
  """Uses XLA's convolution and pooling on f[B, T, F, C], like plain Flax."""
  x = lax.conv_general_dilated(
    x.transpose(3, 1, 2, 0),
    kernel,
    (1, 1),
    'VALID',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  window = (1, pool, pool, 1)
  x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, 'VALID')
  return x.transpose(3, 1, 2, 0)


WAYS: dict[str, Callable[[jax.Array, jax.Array, int], jax.Array]] = {
  'ours': lambda x, k, p: conv_max_pool(x, k, 'VALID', (p, p)),
  'ours, pooled apart': lambda x, k, p: max_pool(
    product_conv(x, k, 'VALID'), (p, p)
  ),
  'product of whole patches': lambda x, k, p: max_pool(
    _patches_product(x, k), (p, p)
  ),
  'XLA, batch last': lambda x, k, p: max_pool(
    native_conv(x, k, 'VALID'), (p, p)
  ),
  'XLA, channels last': _channels_last,
}


def time_layer(layer: tuple, batch_size: int, rounds: int) -> dict:
  """Times every implementation of one layer.

  Args:
    layer: channels, frames, bands, filters and pool size.
    batch_size: the number of windows.
    rounds: how often each one is called, alternating.

  Returns:
    For `forward` and for `both` (with gradients) the milliseconds of each
    implementation, and its ratio to ours.
  """
  channels, frames, bands, filters, pool = layer
  rng = np.random.default_rng(0)
  x = rng.normal(size=(channels, frames, bands, batch_size))
  kernel = rng.normal(size=(_KERNEL, _KERNEL, channels, filters))
  x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
  found: dict = {'forward': {}, 'both': {}}
  calls: dict[str, dict[str, Callable]] = {'forward': {}, 'both': {}}
  wanted = None
  for name, way in WAYS.items():
    forward = jax.jit(lambda x, k, way=way: way(x, k, pool))
    y = forward(x, kernel)
    wanted = y if wanted is None else wanted
    np.testing.assert_allclose(y, wanted, atol=1e-3 * np.abs(wanted).max())

    def both(x, k, pull, way=way):
      y, vjp = jax.vjp(lambda x, k: way(x, k, pool), x, k)
      return y, vjp(pull)

    both = jax.jit(both)
    jax.block_until_ready(both(x, kernel, y))
    calls['forward'][name] = lambda f=forward: _milliseconds(f, x, kernel)
    calls['both'][name] = lambda f=both, y=y: _milliseconds(f, x, kernel, y)
  for what, by_way in calls.items():
    times = in_turn(by_way, rounds)
    found[what] = {
      'ms': {name: spread(t) for name, t in times.items()},
      'ratio': {name: ratio(t, times['ours']) for name, t in times.items()},
    }
  return found


def _milliseconds(function: Callable, *args: jax.Array) -> float:
  start_s = time.perf_counter()
  jax.block_until_ready(function(*args))
  return (time.perf_counter() - start_s) * 1e3


def main() -> None:
  """Prints for each layer how much longer the other implementations take."""
  flags = parser(__doc__)
  flags.add_argument('--batch_size', type=int, default=32)
  flags.add_argument('--rounds', type=int, default=9)
  args = flags.parse_args()
  jax_runtime.set_up()
  layers, size, rounds = _LAYERS, args.batch_size, args.rounds
  if args.toy:
    layers, size, rounds = _LAYERS[-1:], 2, 1
  results = {}
  for layer in layers:
    found = time_layer(layer, size, rounds)
    name = f'{layer[0]} to {layer[3]} channels, {layer[1]} x {layer[2]}'
    results[name] = found
    print(f'{name}: ours {_ms(found, "ours")}')
    for way in list(WAYS)[1:]:
      times = format_ratio(found['both']['ratio'][way])
      print(f'    {way:26} {_ms(found, way)}; both {times} as long', flush=True)
  write_results({'layers': results}, args.json)


def _ms(found: dict, way: str) -> str:
  forward, both = (found[w]['ms'][way]['median'] for w in ('forward', 'both'))
  return f'{forward:.1f} ms, with gradients {both:.1f}'


if __name__ == '__main__':
  main()
