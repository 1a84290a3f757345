import csv

import numpy as np
import pytest

from mgc_jax import bundle as bundles
from mgc_jax.metrics import confusion_scores
from mgc_jax.pretrained.build import build, plan_model
from mgc_jax.pretrained.card import model_card
from mgc_jax.sweep.runner import load_config
from tests.processes import ROOT

GENRES = ('blues', 'jazz', 'rock')


@pytest.fixture
def pooled():
  confusion = np.array([[8, 2, 0], [1, 9, 0], [0, 5, 15]])
  scores = {'negative_log_likelihood': 1.0}
  return {
    **confusion_scores(confusion, GENRES),
    'genres': list(GENRES),
    'num_folds': 3,
    'calibration': {
      'temperature': 1.25,
      'before': {**scores, 'expected_calibration_error': 0.123},
      'after': {**scores, 'expected_calibration_error': 0.045},
    },
  }


def test_a_card_says_how_good_a_model_is_and_where_it_fails(pooled):
  text = model_card('cnn', 123456, pooled, 'python -m builder')
  for part in (
    '123,456 parameters',
    '80.0% of the tracks (95 % interval',
    '3-fold cross-validation',
    '| rock  |    75% |      100% |     20 |',
    'Most often rock taken for jazz (5 tracks), blues taken for jazz (2',
    'divided by 1.25',
    '0.123 before and 0.045\nafter',
    'lacks\nclassical, country, electronic, experimental, folk,',
    'research',
    '`python -m builder`',
  ):
    assert part in text, text


def test_a_model_without_mistakes_has_a_card(pooled):
  pooled['confusion_matrix'] = np.diag([1, 2, 3]).tolist()
  assert 'fails.** Nowhere' in model_card('cnn', 1, pooled, '')


def test_folds_and_the_whole_differ_in_the_data_alone(tmp_path):
  folds, whole = plan_model('/frames', tmp_path, 3, ())
  path = f'{ROOT}/configs/crnn.py'
  configs = [load_config(path, run.overrides) for run in [*folds, whole]]
  assert [config.data.fold for config in configs] == [0, 1, 2, 0]
  assert [config.data.num_folds for config in configs] == [3, 3, 3, 0]
  assert configs[-1].data.test_fraction == configs[-1].data.valid_fraction == 0
  for config in configs:
    assert config.train.select == 'last'
  rest = [{**config.to_dict(), 'data': None} for config in configs]
  assert rest[0] == rest[1] == rest[2] == rest[3]


def _write_frames(root):
  """Frames of 24 made-up tracks by 12 artists, as `.npy` with a manifest."""
  rng = np.random.default_rng(0)
  with (root / 'manifest.csv').open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['path', 'track_id', 'genre', 'artist', 'split'])
    for i in range(24):
      genre = GENRES[i % 3]
      frames = rng.normal(-40 + 10 * (i % 3), 9, (60, 16)).astype(np.float16)
      np.save(root / f'{i}.npy', frames)
      writer.writerow([f'{i}.npy', f't{i}', genre, f'a{i % 12}', 'train'])


def test_a_model_is_built_from_frames_to_bundle_and_card(tmp_path):
  _write_frames(tmp_path)
  small = {
    'features.num_bands': 16,
    'windows.num_frames': 20,
    'windows.hop_frames': 20,
    'model.num_members': 1,
    'model.lstm.hidden_size': 8,
    'model.dense.sizes': '(8,)',
    'model.dense.dropout': '(0.0,)',
    'train.num_epochs': 2,
    'train.batch_size': 4,
    'data.prepared_dir': tmp_path / 'prepared',
    'data.num_workers': 1,
  }
  overrides = tuple(f'--config.{k}={v}' for k, v in small.items())
  runs = plan_model(str(tmp_path), tmp_path / 'runs', 2, overrides)
  target = tmp_path / 'lstm'
  target.mkdir()
  (target / 'old').touch()
  build('lstm', f'{ROOT}/configs/lstm.py', runs, target)
  bundle = bundles.load(target)
  assert bundle.genres == GENRES
  assert bundle.temperature != 1.0
  text = (target / 'README.md').read_text()
  assert f'{bundle.num_params:,} parameters' in text
  assert 'The 24 tracks' in text and '2-fold' in text
  assert not (target / 'old').exists()
  assert {p.name for p in tmp_path.glob('lstm*')} == {'lstm'}
