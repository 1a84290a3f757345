"""The convolutions for CPU equal XLA's own, with their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mgc_jax.models.cpu.convolution import max_pool, native_conv, product_conv
from mgc_jax.models.cpu.pooled_convolution import conv_max_pool

# Channels, times, bands, batch, kernel, filters: all different.
SHAPES = [
  (1, 17, 12, 3, (3, 3), 5),
  (4, 9, 14, 2, (3, 3), 6),
  (9, 11, 8, 3, (3, 3), 5),
  (10, 8, 13, 3, (2, 4), 7),
  (8, 6, 7, 2, (1, 1), 3),
  (3, 12, 10, 2, (5, 5), 4),
]


def _inputs(shape, dtype):
  channels, times, bands, batch, size, filters = shape
  rng = np.random.default_rng(channels)
  x = rng.normal(size=(channels, times, bands, batch))
  kernel = rng.normal(size=(*size, channels, filters)) / np.sqrt(9 * channels)
  return jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)


@functools.partial(jax.jit, static_argnums=0)
def _with_gradients(function, x, kernel):
  """The result, and its product with fixed numbers differentiated by both."""
  y, vjp = jax.vjp(function, x, kernel)
  rng = np.random.default_rng(1)
  return y, *vjp(jnp.asarray(rng.normal(size=y.shape), y.dtype))


def _close(found, wanted, dtype):
  tolerance = {'float32': 1e-5, 'bfloat16': 3e-2}[dtype]
  for a, b in zip(found, wanted, strict=True):
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    np.testing.assert_allclose(a, b, atol=tolerance * abs(b).max())


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('shape', SHAPES)
def test_product_equals_native_convolution(shape, padding, dtype):
  x, kernel = _inputs(shape, dtype)
  found = _with_gradients(lambda x, k: product_conv(x, k, padding), x, kernel)
  wanted = _with_gradients(lambda x, k: native_conv(x, k, padding), x, kernel)
  _close(found, wanted, dtype)


def _native_pool(x, pool):
  window = (1, *pool, 1)
  return lax.reduce_window(x, -jnp.inf, lax.max, window, window, 'VALID')


@pytest.mark.parametrize('pool', [(2, 2), (3, 2), (1, 4), (1, 1), (20, 20)])
def test_max_pool_equals_native(pool):
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 21, 43, 3)))
  found = _with_gradients(lambda x, _: max_pool(x, pool), x, 0.0)[:2]
  wanted = _with_gradients(lambda x, _: _native_pool(x, pool), x, 0.0)[:2]
  _close(found, wanted, 'float32')


@functools.partial(jax.jit, static_argnums=1)
def _pool_gradient(x, pool):
  return jax.grad(lambda x: max_pool(x, pool).sum())(x)


def test_of_equal_values_the_first_gets_the_gradient():
  grad = _pool_gradient(jnp.ones((1, 2, 2, 1)), (2, 2))
  assert grad.ravel().tolist() == [1, 0, 0, 0]


def test_a_large_pool_finds_its_maximum():
  x = np.zeros((1, 20, 20, 1), np.float32)
  x[0, 19, 18] = 1.0
  grad = _pool_gradient(jnp.asarray(x), (20, 20))
  np.testing.assert_array_equal(grad, x)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
@pytest.mark.parametrize('size', [(11, 8), (12, 9), (13, 13)])
def test_fused_pool_equals_convolution_then_pool(size, padding, dtype):
  x, kernel = _inputs((3, *size, 2, (3, 3), 5), dtype)
  found = _with_gradients(
    lambda x, k: conv_max_pool(x, k, padding, (2, 2)), x, kernel
  )
  wanted = _with_gradients(
    lambda x, k: _native_pool(native_conv(x, k, padding), (2, 2)), x, kernel
  )
  _close(found, wanted, dtype)
