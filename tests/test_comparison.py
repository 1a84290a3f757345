import subprocess
import sys

import numpy as np
import pytest

from mgc_jax.evaluation import predictions
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.experiments.comparison import compare
from mgc_jax.system.errors import ConfigError, DataError


def _write(folder, correct, first=0, artist=None):
  """Writes a run whose tracks are numbered from `first`.

  `correct` says which of them are predicted correctly.
  """
  num = len(correct)
  label = np.arange(num) % 2
  logits = np.zeros((num, 2, 2), np.float32)
  logits[np.arange(num), :, np.where(correct, label, 1 - label)] = 2.0
  track_id = np.array([f't{i:03}' for i in range(first, first + num)])
  mask = np.ones((num, 2), bool)
  folder.mkdir()
  run = Predictions(logits, mask, label, track_id, ('jazz', 'rock'), artist)
  predictions.write(run, folder, 1.0)
  return folder


def test_paired_interval_is_narrower_than_two_single_ones(tmp_path):
  """The single intervals of 60 and 70 of 100 tracks overlap by half."""
  hits = np.arange(100) < 60
  one = _write(tmp_path / 'one', hits)
  two = _write(tmp_path / 'two', hits | (np.arange(100) >= 90))
  found = compare([two], [one])
  accuracy = found['track_accuracy']
  assert found['num_tracks'] == 100
  assert (accuracy['model'], accuracy['against']) == (0.7, 0.6)
  low, high = accuracy['ci95']
  # 10 of 100 by the binomial: 1.96 * sqrt(0.1 * 0.9 / 100) = 0.059.
  assert low == pytest.approx(0.041, abs=0.012)
  assert high == pytest.approx(0.159, abs=0.012)
  right, wrong = np.log1p(np.exp(-2.0)), np.log1p(np.exp(2.0))
  loss = found['negative_log_likelihood']
  assert loss['model'] == pytest.approx(0.7 * right + 0.3 * wrong)
  assert loss['difference'] == pytest.approx(0.1 * (right - wrong))
  assert loss['ci95'][1] < 0
  same = compare([one], [one])['track_accuracy']
  assert same['ci95'] == [0, 0]


def test_artist_interval_allows_for_dependent_tracks(tmp_path):
  """One artist causes the whole difference; others may cause none."""
  artist = np.array(['Ann'] * 20 + [f'{i}' for i in range(80)])
  one = _write(tmp_path / 'one', np.arange(100) >= 20, artist=artist)
  two = _write(tmp_path / 'two', np.ones(100, bool), artist=artist)
  found = compare([two], [one])['track_accuracy']
  assert found['difference'] == 0.2 and found['ci95'][0] > 0.1
  assert found['ci95_artists'][0] == 0
  old = _write(tmp_path / 'old', np.arange(100) >= 20)  # has no artists
  for model, against in ((two, old), (old, two)):
    ends = compare([model], [against])['track_accuracy']['ci95_artists']
    assert sorted(np.abs(ends)) == found['ci95_artists']
  assert compare([old], [old])['track_accuracy']['ci95_artists'] is None


def test_folds_are_compared_as_one_model(tmp_path):
  hits = np.arange(100) < 60
  whole = _write(tmp_path / 'whole', hits)
  folds = [
    _write(tmp_path / 'fold0', hits[:50]),
    _write(tmp_path / 'fold1', hits[50:], 50),
  ]
  found = compare(folds, [whole])
  assert found['track_accuracy']['difference'] == 0
  command = [
    sys.executable,
    '-m',
    'mgc_jax',
    'compare',
    f'--against={whole}',
  ]
  command += ['--workdirs=' + ','.join(map(str, folds))]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert 'track accuracy, %: 60.0 against 60.0, +0.0 (over' in done.stdout


def test_unusable_runs_are_reported(tmp_path):
  one = _write(tmp_path / 'one', np.ones(10, bool))
  other = _write(tmp_path / 'other', np.ones(10, bool), 1)
  with pytest.raises(ConfigError, match='2 were tested by only one, e.g. t000'):
    compare([one], [other])
  with pytest.raises(ConfigError, match='t000 was tested by two of them'):
    compare([one, one], [one])
  again = _write(tmp_path / 'again', np.ones(9, bool), 1)
  shifted = _write(tmp_path / 'shifted', np.ones(1, bool))
  with pytest.raises(ConfigError, match='have different genres'):
    compare([one], [shifted, again])
  with pytest.raises(ConfigError, match='each needs at least one run'):
    compare([one], [])
  with pytest.raises(DataError, match='none/logits.npz'):
    compare([one], [tmp_path / 'none'])
