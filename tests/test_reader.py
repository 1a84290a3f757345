import dataclasses

import numpy as np
import pytest

from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import Examples
from mgc_jax.system.errors import DataError
from tests.conftest import write_tone


@pytest.fixture
def prepared(tiny_config, music_folder, tmp_path):
  write_tone(music_folder / 'rock' / 'short.wav', seconds=1.1)
  tiny_config.data.source = 'folder'
  tiny_config.data.root = str(music_folder)
  tiny_config.data.prepared_dir = str(tmp_path / 'prepared')
  return prepare(tiny_config)


def _everything(index):
  rows = np.arange(len(index))
  return Examples(rows, np.zeros_like(rows), index.num_frames)


def test_batches_follow_the_order_and_contain_the_frames(prepared, tiny_config):
  index = prepared.index
  order = np.random.default_rng(0).permutation(13)
  batches = list(Reader(index).batches(_everything(index), order, 4))
  assert len(batches) == 4
  for i, batch in enumerate(batches):
    assert batch['frames'].shape == (4, 63, 20)
    assert batch['frames'].dtype == np.float16
    for b in range(4):
      if i * 4 + b >= 13:
        assert batch['weight'][b] == 0
        continue
      row = order[i * 4 + b]
      track = prepared.tracks[index.track_id[row]]
      (excerpt,) = excerpts_of(track, tiny_config.features, 1.0)
      length = batch['num_frames'][b]
      assert length == len(excerpt.frames)
      np.testing.assert_array_equal(batch['frames'][b, :length], excerpt.frames)
      assert (batch['frames'][b, length:] == 0).all()
      assert batch['label'][b] == index.label[row]
      assert batch['weight'][b] == 1


def test_example_may_be_a_window(prepared):
  index = prepared.index
  whole = next(Reader(index).batches(_everything(index), np.array([3]), 1))
  part = Examples(np.array([3]), np.array([10]), np.array([16]))
  batch = next(Reader(index).batches(part, np.array([0]), 1))
  assert batch['frames'].shape == (1, 16, 20)
  np.testing.assert_array_equal(batch['frames'], whole['frames'][:, 10:26])


def test_own_genres_are_those_of_the_row(prepared):
  index = prepared.index
  own_genres = np.random.default_rng(0).random((len(index), 10)) < 0.5
  order = np.array([7, 2, 5])
  (batch,) = Reader(index, own_genres).batches(_everything(index), order, 3)
  np.testing.assert_array_equal(batch['own_genres'], own_genres[order])


def test_examples_have_the_weight_of_their_genre(prepared):
  index = prepared.index
  weights = np.array([2.0, 0.5])
  (batch,) = Reader(index).batches(
    _everything(index), np.arange(13), 13, weights
  )
  np.testing.assert_array_equal(batch['weight'], weights[batch['label']])


def test_no_examples_give_no_batches(prepared):
  nothing = np.zeros(0, int)
  examples = Examples(nothing, nothing, nothing)
  assert list(Reader(prepared.index).batches(examples, nothing, 4)) == []


@pytest.mark.parametrize('place', [3, 20, 2000, -3])
def test_flipped_byte_raises_and_names_the_file(prepared, place):
  """The byte is in the length of a record, its data, or its checksum."""
  index = prepared.index
  path = index.directory / index.shard[5]
  data = bytearray(path.read_bytes())
  data[place if place < 0 else index.offset[5] + place] ^= 1
  path.write_bytes(data)
  with pytest.raises(DataError, match=f'{path}: a record is damaged'):
    list(Reader(index).batches(_everything(index), np.arange(13), 4))


def test_parts_of_batches_concatenate_to_batches(prepared):
  """As two processes read them."""
  index, examples = prepared.index, _everything(prepared.index)
  order = np.random.default_rng(0).permutation(13)
  whole = Reader(index).batches(examples, order, 4)
  parts = [
    Reader(index).batches(examples, order, 4, part=(i, 2)) for i in range(2)
  ]
  for batch, one, two in zip(whole, *parts, strict=True):
    for name, rows in batch.items():
      assert len(one[name]) == len(two[name]) == 2
      np.testing.assert_array_equal(
        rows, np.concatenate([one[name], two[name]])
      )


def test_truncated_shard_raises(prepared):
  index = prepared.index
  path = index.directory / index.shard[5]
  path.write_bytes(path.read_bytes()[: index.offset.max()])
  with pytest.raises(DataError, match='a record is damaged'):
    list(Reader(index).batches(_everything(index), np.arange(13), 4))


def test_missing_shard_raises(prepared):
  index = dataclasses.replace(
    prepared.index, shard=np.full(13, 'gone.tfrecord')
  )
  with pytest.raises(DataError, match='gone.tfrecord'):
    list(Reader(index).batches(_everything(index), np.arange(2), 2))
