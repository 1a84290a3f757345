import csv
import dataclasses

import numpy as np
import pytest

from mgc_jax.evaluation import predictions
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.system.errors import DataError


@pytest.fixture
def sample():
  """Predictions for three excerpts of two tracks, of up to two windows."""
  return Predictions(
    np.log([[[0.7, 0.3], [0.5, 0.5]], [[0.2, 0.8], [9, 1]], [[0.6, 0.4]] * 2]),
    np.array([[True, True], [True, False], [True, True]]),
    np.array([1, 0, 1]),
    np.array(['b', 'a', 'b']),
    ('jazz', 'rock'),
    np.array(['', 'Ann', '']),
  )


def test_track_prediction_is_the_mean_of_its_windows(sample):
  assert sample.tracks().tolist() == ['a', 'b']
  assert sample.track_label().tolist() == [0, 1]
  expected = [[0.2, 0.8], [0.6, 0.4]]
  np.testing.assert_allclose(sample.track_probabilities(), expected)


def test_predictions_round_trip(sample, tmp_path):
  predictions.write(sample, tmp_path, 1.0)
  found = predictions.read(tmp_path)
  assert found.genres == sample.genres
  assert found.track_artist().tolist() == ['Ann', 'b']
  for name in ('logits', 'mask', 'label', 'track_id', 'artist'):
    np.testing.assert_array_equal(getattr(found, name), getattr(sample, name))
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {'logits.npz', 'predictions.csv'}


def test_predictions_without_artists_are_readable(sample, tmp_path):
  """Earlier versions did not save artists."""
  old = dataclasses.replace(sample, artist=None)
  predictions.write(old, tmp_path, 1.0)
  assert predictions.read(tmp_path).track_artist() is None
  assert predictions.artist_ci95([sample, old], 100) is None


def test_artist_interval_resamples_whole_artists(sample):
  """Track a is wrong and b is correct, so a sample may have either twice."""
  sample = dataclasses.replace(sample, label=np.zeros(3, int))
  assert predictions.artist_ci95([sample], 100) == [0, 1]
  artist = np.array(['Ann'] * 3)
  one_artist = dataclasses.replace(sample, artist=artist)
  assert predictions.artist_ci95([one_artist], 100) is None


def test_csv_has_a_row_per_track(sample, tmp_path):
  predictions.write(sample, tmp_path, 1.0)
  with (tmp_path / 'predictions.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert rows[0] == {
    'track_id': 'a',
    'genre': 'jazz',
    'answer': 'rock',
    'jazz': '0.2000',
    'rock': '0.8000',
  }
  assert [row['track_id'] for row in rows] == ['a', 'b']


@pytest.mark.parametrize(
  'damage',
  ['cut', 'empty', 'pickle', 'shape', 'text', 'label', 'nan', 'mask', 'bits'],
)
def test_damaged_file_is_reported(sample, tmp_path, damage):
  predictions.write(sample, tmp_path, 1.0)
  path = tmp_path / 'logits.npz'
  whole = path.read_bytes()
  if damage == 'cut':
    path.write_bytes(whole[: len(whole) // 2])
  elif damage == 'empty':
    path.write_bytes(b'')
  elif damage == 'text':
    path.write_text('logits')
  else:
    with np.load(path) as columns:
      found = dict(columns)
    if damage == 'shape':
      found['label'] = found['label'][:-1]
    elif damage == 'label':
      found['label'] += 1
    elif damage == 'nan':
      found['logits'][1, 0, 0] = np.nan
    elif damage == 'mask':
      found['mask'] = found['mask'].astype(int)
    elif damage == 'pickle':
      found['label'] = np.array([{}], dtype=object)
    np.savez_compressed(path, **found)
    if damage == 'bits':
      data = bytearray(path.read_bytes())
      data[60:90] = bytes(30)
      path.write_bytes(data)
  with pytest.raises(DataError, match='logits.npz'):
    predictions.read(tmp_path)
