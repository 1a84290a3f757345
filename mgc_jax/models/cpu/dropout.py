"""Dropout with random bits that are cheap on CPU.

XLA's CPU backend runs JAX's Threefry as five loops over memory, with 32 bits
for each element: a fifth of a convolutional training step. Here it is one
expression, fused with the masked computation, and 32 bits serve two elements.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mgc_jax.models.cpu.convolution import is_native

_ROUNDS = 13  # the fewest that pass all statistical tests (Salmon et al.)
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)
_LEVELS = 1 << 16  # rates are rounded to a multiple of 1 / _LEVELS


class Dropout(nn.Module):
  """Like `nn.Dropout`, and equal to it on accelerators."""

  rate: float
  deterministic: bool
  broadcast_dims: tuple[int, ...] = ()

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Sets random elements of f[...] to zero and scales up the others."""
    if self.deterministic or not self.rate:
      return x
    shape = [
      1 if i in self.broadcast_dims else n for i, n in enumerate(x.shape)
    ]
    key = self.make_rng('dropout')
    if is_native():
      keep = jax.random.bernoulli(key, 1.0 - self.rate, shape)
      return jnp.where(keep, x / (1.0 - self.rate), jnp.zeros_like(x))
    threshold = round(self.rate * _LEVELS)
    kept = 1.0 - threshold / _LEVELS
    keep = random_16_bits(key, tuple(shape)) >= threshold
    return jnp.where(keep, x / kept, jnp.zeros_like(x))


def random_16_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Returns uniform integers from Threefry-2x32 (Salmon et al. 2011).

  Args:
    key: A key of `jax.random`.
    shape: Shape of the result.

  Returns:
    u32[shape], each under 2**16.
  """
  words = jax.random.key_data(key)
  size = int(np.prod(shape))
  num_blocks = -(-size // 4)
  pair = threefry(
    words[0], words[1], lax.iota(jnp.uint32, num_blocks), np.uint32(0)
  )
  halves = [half for word in pair for half in (word & 0xFFFF, word >> 16)]
  return jnp.concatenate(halves)[:size].reshape(shape)


def threefry(
  key_0: jax.Array,
  key_1: jax.Array,
  x_0: jax.Array,
  x_1: jax.Array | np.uint32,
) -> tuple[jax.Array, jax.Array]:
  """Encrypts pairs of u32[...] with a key of two u32[]."""
  keys = (key_0, key_1, key_0 ^ key_1 ^ _PARITY)
  x_0, x_1 = x_0 + keys[0], x_1 + keys[1]
  for i in range(_ROUNDS):
    rotation = _ROTATIONS[i % 8]
    x_0 = x_0 + x_1
    x_1 = ((x_1 << rotation) | (x_1 >> (32 - rotation))) ^ x_0
    if i % 4 == 3:
      number = i // 4 + 1
      x_0 = x_0 + keys[number % 3]
      x_1 = x_1 + keys[(number + 1) % 3] + np.uint32(number)
  return x_0, x_1
