import numpy as np
import pytest

from mgc_jax.datasets.grouping import assign_groups, merged_groups


def test_rows_that_share_a_value_are_grouped():
  track = np.array(['a', 'b', 'c', 'd', 'e'])
  artist = np.array(['x', 'y', 'x', '', ''])
  audio = np.array(['1', '2', '3', '2', '4'])
  groups = merged_groups([track, artist, audio])
  assert groups.tolist() == [0, 1, 0, 1, 2]


def test_groups_are_transitive():
  rng = np.random.default_rng(0)
  left = rng.integers(0, 20, 60).astype(str)
  right = rng.integers(0, 20, 60).astype(str)
  groups = merged_groups([left, right])
  for key in (left, right):
    for value in set(key):
      assert len(set(groups[key == value])) == 1


def test_equal_groups_are_divided_exactly():
  counts = np.kron(np.eye(3, dtype=int), np.ones((20, 1), int))
  part = assign_groups(counts, [0.8, 0.1, 0.1], np.random.default_rng(0))
  for genre in range(3):
    found = np.bincount(part[counts[:, genre] > 0], minlength=3)
    assert found.tolist() == [16, 2, 2]


@pytest.mark.parametrize('size', [1, 5, 10])
@pytest.mark.parametrize('num_groups', [3, 5, 9])
def test_every_part_has_a_group_of_a_small_genre(num_groups, size):
  counts = np.kron(np.eye(4, dtype=int), np.full((num_groups, 1), size))
  part = assign_groups(counts, [0.8, 0.1, 0.1], np.random.default_rng(0))
  for genre in range(4):
    found = np.bincount(part[counts[:, genre] > 0], minlength=3)
    assert found.tolist() == [num_groups - 2, 1, 1]


@pytest.mark.parametrize('seed', range(5))
def test_uneven_groups_approximate_the_fractions(seed):
  rng = np.random.default_rng(seed)
  counts = np.zeros((80, 3), int)
  counts[np.arange(80), rng.integers(0, 3, 80)] = rng.geometric(0.3, 80)
  part = assign_groups(counts, [0.8, 0.1, 0.1], rng)
  shares = np.stack([counts[part == i].sum(0) for i in range(3)])
  shares = shares / counts.sum(0)
  np.testing.assert_allclose(shares.T, [[0.8, 0.1, 0.1]] * 3, atol=0.06)


def test_part_with_fraction_zero_is_empty():
  counts = np.ones((7, 2), int)
  part = assign_groups(counts, [0.9, 0.0, 0.1], np.random.default_rng(0))
  assert 1 not in part
