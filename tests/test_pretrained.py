"""The models that come with the package, and how they are built."""

import csv
import re
import shlex
import shutil

import numpy as np
import pytest

from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import Config
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.track import Track
from mgc_jax.evaluation.metrics import confusion_scores, log_softmax
from mgc_jax.experiments.shipped_models import golden_outputs
from mgc_jax.experiments.shipped_models.build import (
  COMMAND,
  FROM_SCRATCH,
  build,
  command_of,
  plan_model,
)
from mgc_jax.experiments.shipped_models.card import model_card
from mgc_jax.inference import list_models, pretrained
from mgc_jax.models import bundle as bundles
from mgc_jax.system import figure_file
from mgc_jax.system.errors import DataError
from tests.commands import train_here
from tests.processes import ROOT

GENRES = ('blues', 'jazz', 'rock')


@pytest.fixture
def results():
  confusion = np.array([[8, 2, 0], [1, 9, 0], [0, 5, 15]])
  scores = {'negative_log_likelihood': 1.0}
  return {
    **confusion_scores(confusion, GENRES),
    'genres': list(GENRES),
    'num_folds': 3,
    'num_tracks_without_artist': 7,
    'track_accuracy_ci95_artists': [0.61, 0.92],
    'calibration': {
      'temperature': 1.25,
      'before': {**scores, 'expected_calibration_error': 0.123},
      'after': {**scores, 'expected_calibration_error': 0.045},
    },
  }


def test_a_card_states_accuracy_errors_and_limits(results):
  text = model_card('cnn', 123456, results, 'python -m builder', '')
  for part in (
    '123,456 parameters',
    '80.0% (95 % interval over tracks',
    'over artists 61.0% to 92.0%),\n',
    '3-fold cross-validation',
    '| rock  |    75% |      100% |     20 |',
    'artist in training.\nThe artist of 7 tracks is unknown; each',
    'Most often rock is taken for jazz (5 tracks), blues is taken for jazz (2',
    'divided by 1.25',
    '0.123 before and 0.045 after',
    'does not know\nclassical, country, electronic, experimental, folk,',
    'research',
    '`python -m builder`',
  ):
    assert part in text, text


def test_a_model_without_errors_has_a_card(results):
  results['confusion_matrix'] = np.diag([1, 2, 3]).tolist()
  assert 'errors.** None' in model_card('cnn', 1, results, '', '')


def _measured_by_others(text):
  return re.findall(r'\*\*On GTZAN.+?third party\.', text, re.DOTALL)


@pytest.mark.parametrize('name', pretrained.NAMES)
def test_results_of_others_are_stated_for_their_weights_only(name, results):
  digest = bundles.digest(pretrained.path(name))
  text = (pretrained.path(name) / 'README.md').read_text()
  shipped = _measured_by_others(text)
  card = model_card(name, 1, results, '', digest)
  assert _measured_by_others(card) == shipped
  assert bool(shipped) == (name in FROM_SCRATCH)
  assert not _measured_by_others(model_card(name, 1, results, '', '0' * 64))


@pytest.mark.parametrize('name', pretrained.NAMES)
def test_a_shipped_card_states_the_complete_command(name):
  text = (pretrained.path(name) / 'README.md').read_text()
  command = re.search('Made by `(.+)`', text)[1].replace('$DATA', '/data')
  words = shlex.split(command)[2:]
  assert command_of(name, COMMAND.parser('mgc').parse_args(words)) == command
  number = re.search(r'--num_folds=(\d+)', command)[1]
  assert f'in {number}-fold' in text
  data = {'--manifests', '--left_out'} if name == 'tags' else {'--root'}
  assert data <= {word.partition('=')[0] for word in words}


def test_a_card_gets_the_command_of_its_model_alone(monkeypatch):
  commands = {}
  monkeypatch.setattr(
    'mgc_jax.experiments.shipped_models.build.build',
    lambda name, *others: commands.update({name: others[-1]}),
  )
  words = ['--models=cnn,tags', '--root=my frames', '--manifests=a.csv,b.csv']
  words += ['--left_out=a', '--num_folds=4', '--configs=mine', '--workdir=w']
  args = COMMAND.parser('mgc').parse_args(words)
  args.run(args)
  assert commands == {
    'cnn': 'mgc build-models --models=cnn --num_folds=4 '
    "'--root=my frames' --configs=mine",
    'tags': 'mgc build-models --models=tags --num_folds=4 --left_out=a '
    '--manifests=a.csv,b.csv --configs=mine',
  }


def test_a_rebuilt_model_is_listed_without_the_results_of_others(
  results, tmp_path, monkeypatch, capsys
):
  shutil.copytree(pretrained.path('cnn'), tmp_path / 'cnn')
  text = model_card('cnn', 198890, results, '', '0' * 64)
  (tmp_path / 'cnn' / 'README.md').write_text(text)
  monkeypatch.setattr(pretrained, 'path', lambda name: tmp_path / 'cnn')
  assert list_models.facts('cnn')['parameters'] == '198,890'
  list_models.COMMAND.run(None)
  assert 'elsewhere' not in capsys.readouterr().out


def test_fold_models_and_final_model_differ_only_in_their_data(tmp_path):
  folds, whole = plan_model({'root': '/frames'}, tmp_path, 3, ())
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
  """Writes frames of 24 made-up tracks by 12 artists, and a manifest."""
  rng = np.random.default_rng(0)
  with (root / 'manifest.csv').open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['path', 'track_id', 'genre', 'artist', 'split'])
    for i in range(24):
      genre = GENRES[i % 3]
      frames = rng.normal(-40 + 10 * (i % 3), 9, (60, 16)).astype(np.float16)
      np.save(root / f'{i}.npy', frames)
      writer.writerow([f'{i}.npy', f't{i}', genre, f'a{i % 12}', 'train'])


def test_build_trains_a_model_and_writes_bundle_and_card(tmp_path, monkeypatch):
  train_here(monkeypatch)
  monkeypatch.setattr(figure_file, 'save', lambda figure, path: None)
  _write_frames(tmp_path)
  small = {
    'features.num_bands': 16,
    'windows.num_frames': 20,
    'windows.hop_frames': 20,
    'model.num_members': 1,
    'augment.max_shift_bands': 0,
    'augment.filter_db': 0.0,
    'augment.mixup_alpha': 0.0,
    'model.lstm.encoder_size': 0,
    'model.lstm.recurrent_dropout': 0.0,
    'model.lstm.hidden_size': 8,
    'model.dense.sizes': '(8,)',
    'model.dense.dropout': '(0.0,)',
    'train.num_epochs': 2,
    'train.batch_size': 4,
    'data.prepared_dir': tmp_path / 'prepared',
    'data.num_workers': 1,
  }
  overrides = tuple(f'--config.{k}={v}' for k, v in small.items())
  data = {'root': str(tmp_path), 'manifest': 'manifest.csv'}
  runs = plan_model(data, tmp_path / 'runs', 2, overrides)
  target = tmp_path / 'lstm'
  target.mkdir()
  (target / 'old').touch()
  build('lstm', f'{ROOT}/configs/lstm.py', runs, target)
  bundle = bundles.load(target)
  assert bundle.genres == GENRES
  assert bundle.temperature != 1.0
  text = (target / 'README.md').read_text()
  assert f'{bundle.num_params:,} parameters' in text
  assert not _measured_by_others(text)
  assert 'The 24 tracks' in text and '2-fold' in text
  frames, logits = golden_outputs.read(target)
  assert frames.shape[0] == 2 and frames.dtype == np.float16
  np.testing.assert_allclose(
    golden_outputs.window_logits(bundle, frames), logits, atol=1e-5
  )
  assert not (target / 'old').exists()
  assert {p.name for p in tmp_path.glob('lstm*')} == {'lstm'}


@pytest.mark.parametrize('name', pretrained.NAMES)
def test_a_shipped_bundle_reproduces_its_golden_outputs(name):
  folder = pretrained.path(name)
  frames, logits = golden_outputs.read(folder)
  found = golden_outputs.window_logits(bundles.load(folder), frames)
  assert np.ptp(logits) > 1
  np.testing.assert_allclose(found, logits, atol=1e-3)


@pytest.mark.parametrize('name', pretrained.NAMES)
def test_a_shipped_bundle_is_small_matches_its_config_and_has_a_card(name):
  folder = pretrained.path(name)
  (weights,) = folder.glob('*.safetensors')
  assert weights.stat().st_size < 2 * 2**20
  bundle, config = (
    bundles.load(folder),
    load_config(f'{ROOT}/configs/{name}.py', ()),
  )
  num_genres = 12 if name == 'tags' else 10
  config.model.num_genres = num_genres
  config = Config.from_dict(config)
  for section in ('features', 'windows', 'model'):
    assert getattr(bundle.config, section) == getattr(config, section)
  assert len(bundle.genres) == num_genres and bundle.temperature != 1
  assert (
    f'{bundle.num_params:,} parameters' in (folder / 'README.md').read_text()
  )


@pytest.mark.parametrize(
  'name',
  ['cnn', *(pytest.param(n, marks=pytest.mark.slow) for n in ('lstm', 'crnn'))],
)
def test_audio_gets_the_same_genre_as_ready_made_frames(name, data_dir):
  bundle = bundles.load(pretrained.path(name))
  paths = sorted((data_dir / 'gtzan_audio').glob('*/*.au'))
  assert len(paths) == 8
  for path in paths:
    (excerpt,) = excerpts_of(
      Track(path.stem, str(path), path.parent.name), bundle.config.features, 1.0
    )
    ready = np.load(
      data_dir / 'gtzan_logmel' / path.parent.name / f'{path.stem}.npy'
    )
    difference = np.abs(excerpt.frames.astype('f4') - ready.astype('f4'))
    assert difference.mean() < 0.5
    both = np.stack([excerpt.frames, ready])
    logits = golden_outputs.window_logits(bundle, both) / bundle.temperature
    probabilities = np.exp(log_softmax(logits)).mean(axis=1)
    found, wanted = probabilities.argmax(axis=-1)
    assert found == wanted, path


def test_missing_golden_outputs_are_reported(tmp_path):
  with pytest.raises(DataError, match='golden_outputs.npz'):
    golden_outputs.read(tmp_path)
