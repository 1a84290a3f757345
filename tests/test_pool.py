import json

import pytest

from mgc_jax.errors import ConfigError, DataError
from mgc_jax.pool import pool


@pytest.fixture
def folds(tmp_path):
  """Three finished folds, as their files on disk."""
  confusions = [[[3, 1], [0, 4]], [[1, 0], [2, 2]], [[5, 0], [0, 6]]]
  for k, confusion in enumerate(confusions):
    folder = tmp_path / f'fold{k}'
    folder.mkdir()
    _write(folder, 'config', data={'fold': k, 'num_folds': 3}, seed=0)
    _write(
      folder,
      'results',
      confusion_matrix=confusion,
      genres=['jazz', 'rock'],
      protocol='artist',
      split='test',
      track_accuracy=0.5 + 0.1 * k,
    )
  return [tmp_path / f'fold{k}' for k in range(3)]


def _write(folder, name, **content):
  (folder / f'{name}.json').write_text(json.dumps(content))


def test_folds_add_up(folds):
  found = pool(folds)
  assert found['confusion_matrix'] == [[9, 1], [2, 12]]
  assert found['num_tracks'] == 24
  assert found['track_accuracy'] == pytest.approx(21 / 24)
  assert found['per_genre']['jazz']['recall'] == pytest.approx(0.9)
  assert found['fold_track_accuracies'] == [0.5, 0.6, 0.7]


def test_a_missing_or_repeated_fold_is_named(folds):
  with pytest.raises(ConfigError, match=r'folds \[0, 1\] of 3: name each'):
    pool(folds[:2])
  with pytest.raises(ConfigError, match=r'folds \[0, 1, 1\] of 3'):
    pool([folds[0], folds[1], folds[1]])


def test_a_fold_of_other_settings_is_named(folds):
  _write(folds[2], 'config', data={'fold': 2, 'num_folds': 3}, seed=1)
  with pytest.raises(ConfigError, match='fold2: other settings than'):
    pool(folds)


def test_an_unfinished_fold_is_named(folds):
  (folds[1] / 'results.json').unlink()
  with pytest.raises(DataError, match='fold1/results.json.*run this fold'):
    pool(folds)


def test_a_fold_evaluated_on_another_side_is_named(folds):
  path = folds[1] / 'results.json'
  path.write_text(path.read_text().replace('"test"', '"valid"'))
  with pytest.raises(ConfigError, match='fold1: evaluated on valid, not test'):
    pool(folds)
