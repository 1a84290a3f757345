"""Compares records that were prepared in different ways."""

import numpy as np

from mgc_jax.datasets import excerpt_index
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import Examples


def frames_of(index):
  """f16[E, N, F], all frames of an index in its order."""
  rows = np.arange(len(index))
  examples = Examples(rows, np.zeros_like(rows), index.num_frames)
  batches = Reader(index).batches(examples, rows, 16)
  return np.concatenate([batch['frames'] for batch in batches])[: len(index)]


def assert_same_records(a, b):
  """Compares two folders of records, one excerpt after another."""
  assert (a / 'left_out.csv').read_text() == (b / 'left_out.csv').read_text()
  one, other = excerpt_index.read(a), excerpt_index.read(b)
  assert one.genres == other.genres
  for column in ('excerpt_id', 'track_id', 'artist', 'sha256', 'label'):
    assert getattr(one, column).tolist() == getattr(other, column).tolist()
  np.testing.assert_array_equal(one.band_sums, other.band_sums)
  np.testing.assert_array_equal(one.duration_s, other.duration_s)
  np.testing.assert_array_equal(frames_of(one), frames_of(other))
