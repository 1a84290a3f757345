"""Convolution and 2 x 2 max-pool as one matrix product, for CPU.

It is for the first layer, whose input has few channels. One product computes
all four values of a pooling window from the patch that they share. That is a
third more arithmetic than necessary, but the shape is efficient, and the map
before pooling is never written to memory.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from mgc_jax.models.cpu.convolution import (
  FEW_CHANNELS,
  conv,
  first_maximum,
  inner,
  is_native,
  max_pool,
  product,
  product_conv,
  with_padding,
)


def conv_max_pool(
  x: jax.Array, kernel: jax.Array, padding: str, pool: tuple[int, int]
) -> jax.Array:
  """Convolves, then applies max-pooling.

  Args:
    x: f[C, T, F, B].
    kernel: f[kt, kf, C, O].
    padding: SAME or VALID.
    pool: Frames and bands of a pooling window.

  Returns:
    f[O, T', F', B].
  """
  if not is_native() and len(x) < FEW_CHANNELS and pool == (2, 2):
    return _of_patches(with_padding(x, kernel, padding), kernel)
  return max_pool(conv(x, kernel, padding), pool)


@jax.custom_vjp
def _of_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves without padding, then applies 2 x 2 max-pooling."""
  return _forward(x, kernel)[0]


def _forward(
  x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
  values = product(_four_kernels(kernel), _patches(x, kernel.shape[:2]))
  values = list(values.reshape(4, -1, *values.shape[1:]).astype(x.dtype))
  pooled = functools.reduce(jnp.maximum, values)
  return pooled, (x, kernel, first_maximum(values))


def _backward(
  saved: tuple[jax.Array, jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
  x, kernel, chosen = saved
  number = jnp.arange(4, dtype=chosen.dtype)[:, None, None, None, None]
  spread = jnp.where(chosen[None] == number, grad[None], 0)
  found = inner(
    spread.reshape(-1, *grad.shape[1:]), _patches(x, kernel.shape[:2])
  )
  (grad_kernel,) = jax.linear_transpose(_four_kernels, kernel)(
    found.astype(kernel.dtype)
  )
  return _grad_x(x, kernel, spread), grad_kernel


def _grad_x(x: jax.Array, kernel: jax.Array, spread: jax.Array) -> jax.Array:
  """Returns the gradient of the input; unused in training, XLA removes it."""
  _, filters, times, bands, batch = spread.shape
  spread = spread.reshape(2, 2, filters, times, bands, batch)
  spread = spread.transpose(2, 3, 0, 4, 1, 5)
  spread = spread.reshape(filters, 2 * times, 2 * bands, batch)

  def convolve(x: jax.Array) -> jax.Array:
    return product_conv(x, kernel, 'VALID')

  convolved, vjp = jax.vjp(convolve, x)
  rest = [
    (0, m - n) for m, n in zip(convolved.shape, spread.shape, strict=True)
  ]
  return vjp(jnp.pad(spread, rest))[0]


_of_patches.defvjp(_forward, _backward)


def _four_kernels(kernel: jax.Array) -> jax.Array:
  """Returns f[4 O, (kt + 1) (kf + 1) C], the kernel at 2 x 2 positions."""
  moved = [
    jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)))
    for i in range(2)
    for j in range(2)
  ]
  filters = kernel.shape[-1]
  return jnp.stack(moved).transpose(0, 4, 1, 2, 3).reshape(4 * filters, -1)


def _patches(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
  """Returns f[(kt + 1) (kf + 1) C, T', F', B], a patch per pooling window."""
  times = (x.shape[1] - size[0] + 1) // 2
  bands = (x.shape[2] - size[1] + 1) // 2
  return jnp.concatenate(
    [
      lax.slice(
        x,
        (0, i, j, 0),
        (len(x), i + 2 * times - 1, j + 2 * bands - 1, x.shape[3]),
        (1, 2, 2, 1),
      )
      for i in range(size[0] + 1)
      for j in range(size[1] + 1)
    ]
  )
