import csv
import dataclasses

import numpy as np
import pytest

from mgc_jax.evaluation import predictions
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.system.errors import DataError


@pytest.fixture
def answers():
  """Three excerpts of two tracks, of up to two windows."""
  return Predictions(
    np.log([[[0.7, 0.3], [0.5, 0.5]], [[0.2, 0.8], [9, 1]], [[0.6, 0.4]] * 2]),
    np.array([[True, True], [True, False], [True, True]]),
    np.array([1, 0, 1]),
    np.array(['b', 'a', 'b']),
    ('jazz', 'rock'),
    np.array(['', 'Ann', '']),
  )


def test_a_track_s_answer_is_the_mean_of_its_windows(answers):
  assert answers.tracks().tolist() == ['a', 'b']
  assert answers.track_label().tolist() == [0, 1]
  expected = [[0.2, 0.8], [0.6, 0.4]]
  np.testing.assert_allclose(answers.track_probabilities(), expected)


def test_what_is_written_is_read(answers, tmp_path):
  predictions.write(answers, tmp_path, 1.0)
  found = predictions.read(tmp_path)
  assert found.genres == answers.genres
  assert found.track_artist().tolist() == ['Ann', 'b']
  for name in ('logits', 'mask', 'label', 'track_id', 'artist'):
    np.testing.assert_array_equal(getattr(found, name), getattr(answers, name))
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {'logits.npz', 'predictions.csv'}


def test_answers_without_artists_are_read(answers, tmp_path):
  """Those of a version before artists were kept."""
  before = dataclasses.replace(answers, artist=None)
  predictions.write(before, tmp_path, 1.0)
  assert predictions.read(tmp_path).track_artist() is None
  assert predictions.artist_ci95([answers, before], 100) is None


def test_an_interval_over_artists_draws_them_whole(answers):
  """Track a is missed, b found; of two drawn it may be either twice."""
  answers = dataclasses.replace(answers, label=np.zeros(3, int))
  assert predictions.artist_ci95([answers], 100) == [0, 1]
  artist = np.array(['Ann'] * 3)
  of_one = dataclasses.replace(answers, artist=artist)
  assert predictions.artist_ci95([of_one], 100) is None


def test_people_have_a_table_of_tracks(answers, tmp_path):
  predictions.write(answers, tmp_path, 1.0)
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
def test_a_damaged_file_is_named(answers, tmp_path, damage):
  predictions.write(answers, tmp_path, 1.0)
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
