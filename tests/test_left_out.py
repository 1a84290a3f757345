"""Testing on a collection that was left out of the training."""

import json

import numpy as np
import pytest

from mgc_jax.config.flags import load_config
from mgc_jax.evaluation import predictions
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.experiments import left_out
from mgc_jax.system.errors import DataError
from tests.commands import run_command, train_here
from tests.conftest import write_tone
from tests.processes import ROOT

GENRES = ('a', 'b', 'c')


def _predictions(label, prediction):
  """Predictions that are certain, for tracks with one window."""
  logits = 9.0 * np.eye(3, dtype=np.float32)[np.array(prediction)]
  number = len(label)
  return Predictions(
    logits[:, None],
    np.full((number, 1), True),
    np.array(label),
    np.array([f't{i}' for i in range(number)]),
    GENRES,
    np.array([f'artist {i // 2}' for i in range(number)]),
  )


def _runs(tmp_path, **found):
  """Runs of two collections, finished with these predictions."""
  runs = left_out.plan(list(found), [0], [], tmp_path)
  for name, one in found.items():
    runs[name][0].workdir.mkdir()
    predictions.write(one, runs[name][0].workdir, 1.0)
  return runs


def test_a_run_is_tested_on_the_collection_that_it_is_not_trained_on(tmp_path):
  """tests/test_splits.py checks what is in the splits of `test_source`."""
  overrides = ['--config.train.num_epochs=7']
  runs = left_out.plan(['one', 'two'], [3, 4], overrides, tmp_path)
  assert list(runs) == ['one', 'two']
  for name, group in runs.items():
    for seed, run in zip((3, 4), group, strict=True):
      config = load_config(f'{ROOT}/configs/smoke.py', run.overrides)
      assert config.data.test_source == name and config.seed == seed
      assert config.data.eval_split == 'test'
      assert config.data.protocol == 'artist'
      assert config.data.valid_fraction == 0
      assert config.train.select == 'last' and config.train.num_epochs == 7
  assert len({run.workdir for group in runs.values() for run in group}) == 4


def test_tracks_of_other_genres_are_left_out_with_all_that_belongs_to_them():
  found = _predictions([0, 1, 2, 1], [0, 1, 1, 2])
  found.mask[[1, 3]] = False
  kept = left_out.with_genres(found, {1, 2})
  for name in ('logits', 'mask', 'label', 'track_id', 'artist'):
    wanted = getattr(found, name)[1:]
    np.testing.assert_array_equal(getattr(kept, name), wanted)
  assert kept.genres == GENRES


def test_recalls_and_intervals_are_those_of_the_collection(tmp_path):
  label = [0, 0, 0, 0, 1, 1, 1, 1]
  one = _predictions(label, [0, 0, 0, 1, 1, 1, 0, 0])
  other = _predictions(label, label)
  row, _ = left_out.score(_runs(tmp_path, one=one, other=other))['rows']
  assert row['recalls'] == {'a': [3, 4], 'b': [2, 4]}
  for name in ('track_accuracy_ci95', 'track_accuracy_ci95_artists'):
    low, high = row[name]
    assert low < row['track_accuracies'][0] < high, name


def test_only_genres_that_another_collection_has_are_counted(tmp_path):
  runs = _runs(
    tmp_path,
    one=_predictions([0, 0, 1, 1, 1], [0, 2, 1, 1, 0]),
    two=_predictions([1, 1, 2, 2], [1, 0, 2, 2]),
  )
  one, two = left_out.score(runs)['rows']
  assert one['collection'] == 'one' and one['num_tracks'] == 3
  assert one['track_accuracies'] == [pytest.approx(2 / 3)]
  assert one['recalls'] == {'b': [2, 3]} and two['recalls'] == {'b': [1, 2]}


def test_the_temperature_is_that_of_the_worse_collection(tmp_path):
  good = _predictions([0, 0, 1, 1], [0, 0, 1, 1])
  bad = _predictions([0, 0, 1, 1], [0, 1, 0, 1])
  found = left_out.score(_runs(tmp_path, good=good, bad=bad))['calibration']
  assert found['temperature'] > 5
  before, after = (
    found['collections']['bad'][when]['negative_log_likelihood']
    for when in ('before', 'after')
  )
  assert after < before


def test_collections_without_a_common_genre_are_reported(tmp_path):
  runs = _runs(tmp_path, one=_predictions([0], [0]), two=_predictions([1], [1]))
  with pytest.raises(DataError, match='one: no other collection has one of'):
    left_out.score(runs)


@pytest.mark.slow
def test_command_leaves_out_each_collection_once(tmp_path, monkeypatch):
  train_here(monkeypatch)
  for c, collection in enumerate(('one', 'two')):
    rows = ['path,track_id,genre,artist']
    for i in range(8):
      genre = ('low', 'high')[i % 2]
      path = f'{genre}{i}.wav'
      hz = (200.0, 900.0)[i % 2] + 20 * i + 7 * c
      write_tone(tmp_path / collection / path, frequency_hz=hz)
      rows.append(f'{path},{collection}/{i},{genre},{collection} {i // 2}')
    manifest = tmp_path / collection / 'manifest.csv'
    manifest.write_text('\n'.join(rows))
  words = [
    'leave-out',
    f'--config={ROOT}/configs/smoke.py',
    '--left_out=one,two',
    f'--workdir={tmp_path}/runs',
    '--config.data.source=manifest',
    f'--config.data.manifest={tmp_path}/one/manifest.csv,'
    f'{tmp_path}/two/manifest.csv',
    '--config.train.num_epochs=1',
    '--config.train.batch_size=4',
    '--config.windows.num_frames=16',
  ]
  for _ in range(2):  # the second time nothing is trained
    done = run_command('mgc_jax', *words)
    assert done.returncode == 0, done.stderr
    assert '| one ' in done.stdout and 'temperature' in done.stdout
  assert 'run 1 of 2' not in done.stderr
  found = json.loads((tmp_path / 'runs' / left_out.RESULTS_FILE).read_text())
  assert [row['num_tracks'] for row in found['rows']] == [8, 8]
