"""Dropout drops its share, keeps the mean, and never the same elements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.models.cpu import dropout
from mgc_jax.models.cpu.dropout import Dropout, random_16_bits, threefry


def _dropped(rate, shape, seed=0, **kwargs):
  module = Dropout(rate, deterministic=False, **kwargs)
  return module.apply(
    {}, jnp.ones(shape), rngs={'dropout': jax.random.key(seed)}
  )


def test_threefry_equals_that_of_jax(monkeypatch):
  monkeypatch.setattr(dropout, '_ROUNDS', 20)
  from jax.extend.random import threefry_2x32

  counts = np.arange(10, dtype=np.uint32)
  key = np.array([7, 1 << 31], np.uint32)
  wanted = threefry_2x32(key, counts)
  found = threefry(key[0], key[1], counts[:5], counts[5:])
  np.testing.assert_array_equal(np.concatenate(found), wanted)


@pytest.mark.parametrize('rate', [0.1, 0.35, 0.5, 0.9])
def test_share_and_mean_follow_the_rate(rate):
  found = np.asarray(_dropped(rate, (100, 401)))
  error = 4 * np.sqrt(rate * (1 - rate) / found.size)
  assert abs((found == 0).mean() - rate) < error
  assert abs(found.mean() - 1) < 4 * np.sqrt(rate / (1 - rate) / found.size)


def test_bits_are_uniform_and_independent():
  bits = np.asarray(random_16_bits(jax.random.key(3), (40, 1003)))
  assert bits.shape == (40, 1003)
  assert bits.max() < 1 << 16
  counts = np.bincount(bits.ravel() >> 10, minlength=64)
  expected = bits.size / 64
  assert ((counts - expected) ** 2 / expected).sum() < 120  # 63 degrees
  rows = np.corrcoef(bits)
  assert abs(rows - np.eye(40)).max() < 5 / np.sqrt(1003)


def test_another_key_gives_another_mask_and_the_same_key_the_same():
  first, second = _dropped(0.5, (300,), 1), _dropped(0.5, (300,), 2)
  assert 90 < (first != second).sum() < 210
  np.testing.assert_array_equal(first, _dropped(0.5, (300,), 1))


def test_a_broadcast_axis_shares_its_mask():
  found = np.asarray(_dropped(0.5, (4, 50, 9), broadcast_dims=(1,)))
  assert (found == found[:, :1]).all()
  assert 0 < (found[:, 0] == 0).sum() < 36


def test_nothing_is_dropped_without_a_rate_or_in_evaluation():
  ones = jnp.ones((5,))
  assert (Dropout(0.0, deterministic=False).apply({}, ones) == 1).all()
  assert (Dropout(0.9, deterministic=True).apply({}, ones) == 1).all()
