import dataclasses
import json

import numpy as np
import pytest

from mgc_jax.evaluation import predictions
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.experiments.cross_validation import (
  combine_folds,
  evaluate_folds,
  set_temperature,
)
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError, DataError


@pytest.fixture
def folds(tmp_path):
  """Folders of three finished folds."""
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
      num_tracks_without_artist=k,
    )
    predictions.write(_overconfident(k), folder, 1.0)
  return [tmp_path / f'fold{k}' for k in range(3)]


def _overconfident(k):
  """A fold of 40 tracks, of which three quarters are predicted correctly."""
  logits = np.zeros((40, 1, 2), np.float32)
  predicted = np.arange(40) % 2
  logits[np.arange(40), 0, predicted] = 9.0
  label = np.where(np.arange(40) < 10, 1 - predicted, predicted)
  track_id = np.array([f'{k}-{i}' for i in range(40)])
  mask = np.ones((40, 1), bool)
  return Predictions(logits, mask, label, track_id, ('jazz', 'rock'))


def _write(folder, name, **content):
  (folder / f'{name}.json').write_text(json.dumps(content))


def test_confusion_matrices_of_folds_are_summed(folds):
  found = combine_folds(folds)
  assert found['confusion_matrix'] == [[9, 1], [2, 12]]
  assert found['num_tracks'] == 24
  assert found['track_accuracy'] == pytest.approx(21 / 24)
  assert found['per_genre']['jazz']['recall'] == pytest.approx(0.9)
  assert found['fold_track_accuracies'] == [0.5, 0.6, 0.7]


def test_missing_or_repeated_fold_is_reported(folds):
  with pytest.raises(ConfigError, match=r'folds \[0, 1\] of 3: list each'):
    combine_folds(folds[:2])
  with pytest.raises(ConfigError, match=r'folds \[0, 1, 1\] of 3'):
    combine_folds([folds[0], folds[1], folds[1]])


def test_fold_with_other_settings_is_reported(folds):
  _write(folds[2], 'config', data={'fold': 2, 'num_folds': 3}, seed=1)
  with pytest.raises(ConfigError, match='fold2: its settings differ'):
    combine_folds(folds)


def test_folds_may_be_trained_on_different_machines(folds):
  data = {'fold': 2, 'num_folds': 3, 'root': '/other', 'num_workers': 8}
  _write(folds[2], 'config', data=data, seed=0)
  assert combine_folds(folds)['num_folds'] == 3


def test_track_in_two_folds_is_reported(folds):
  """This happens if the data set changed between two folds."""
  predictions.write(_overconfident(0), folds[2], 1.0)
  with pytest.raises(ConfigError, match='0-0: tested in 2 folds'):
    evaluate_folds(folds)


def test_artist_interval_covers_all_folds(folds):
  assert evaluate_folds(folds)['track_accuracy_ci95_artists'] is None
  for k, folder in enumerate(folds):
    artist = np.array([f'{k}'] * 40)  # three artists, each 75 % correct
    fold = dataclasses.replace(_overconfident(k), artist=artist)
    predictions.write(fold, folder, 1.0)
  found = evaluate_folds(folds)['track_accuracy_ci95_artists']
  assert found == [0.75, 0.75]


def test_unfinished_fold_is_reported(folds):
  (folds[1] / 'results.json').unlink()
  with pytest.raises(DataError, match='fold1/results.json.*finish the tr'):
    combine_folds(folds)


def test_fold_evaluated_on_another_split_is_reported(folds):
  path = folds[1] / 'results.json'
  path.write_text(path.read_text().replace('"test"', '"valid"'))
  with pytest.raises(ConfigError, match='fold1: evaluated on valid, not test'):
    combine_folds(folds)


def test_temperature_calibrates_probabilities(folds):
  found = evaluate_folds(folds)['calibration']
  # The logits give odds of exp(9), the data 3: temperature 9 / log 3 fits.
  assert found['temperature'] == pytest.approx(9 / np.log(3), rel=1e-2)
  before, after = found['before'], found['after']
  assert before['expected_calibration_error'] == pytest.approx(0.25, abs=1e-3)
  assert after['expected_calibration_error'] == pytest.approx(0, abs=1e-3)
  entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
  assert after['negative_log_likelihood'] == pytest.approx(entropy, rel=1e-4)


def test_fold_without_logits_is_reported(folds):
  (folds[2] / predictions.LOGITS_FILE).unlink()
  with pytest.raises(DataError, match='fold2/logits.npz.*training command'):
    evaluate_folds(folds)


def test_temperature_is_set_if_the_settings_match(bundle, tmp_path):
  for name in ('fold0', 'whole'):
    bundles.save(bundle, tmp_path / name / 'bundle')
  set_temperature(tmp_path / 'whole' / 'bundle', tmp_path / 'fold0', 2.5)
  assert bundles.load(tmp_path / 'whole' / 'bundle').temperature == 2.5


def test_temperature_of_another_model_is_rejected(bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'fold0' / 'bundle')
  windows = dataclasses.replace(bundle.config.windows, hop_frames=17)
  config = dataclasses.replace(bundle.config, windows=windows)
  bundles.save(dataclasses.replace(bundle, config=config), tmp_path / 'other')
  with pytest.raises(ConfigError, match='other: its windows differ.*fold0'):
    set_temperature(tmp_path / 'other', tmp_path / 'fold0', 2.5)
  assert bundles.load(tmp_path / 'other').temperature == 1.5
