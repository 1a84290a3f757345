import json

import pytest

from mgc_jax import run
from mgc_jax.errors import ConfigError, DataError


@pytest.fixture
def config(folder_config):
  folder_config.data.allow_missing = True
  return folder_config


def test_train_evaluate_and_evaluate_again(config, tmp_path, capsys):
  workdir = tmp_path / 'run'
  run.train_and_evaluate(config, workdir)
  first = json.loads((workdir / 'results.json').read_text())
  assert first['genres'] == ['jazz', 'rock']
  assert first['num_tracks'] == 2
  saved = json.loads((workdir / 'config.json').read_text())
  assert saved['model']['num_genres'] == 2

  config.data.eval_split = 'train,valid,test'
  run.evaluate_only(config, workdir)
  every = _evaluation(workdir)
  assert every['num_tracks'] == 12 and every['split'] == 'train,valid,test'
  assert every['weights_sha256'] == first['weights_sha256']
  assert every['num_tracks_without_artist'] == 12
  assert 'track accuracy' in capsys.readouterr().out
  # The run's own stay: folds are pooled, and sweeps read, from them.
  assert json.loads((workdir / 'results.json').read_text()) == first
  for name in ('curves.png', 'confusion_matrix.png'):
    assert (workdir / 'plots' / name).stat().st_size > 5000


def _evaluation(workdir):
  (path,) = workdir.glob('evaluations/*/results.json')
  return json.loads(path.read_text())


@pytest.mark.parametrize(
  ('sides', 'warned'), [('train,valid,test', True), ('test', False)]
)
def test_an_evaluation_on_what_was_trained_on_is_called_so(
  config, tmp_path, caplog, sides, warned
):
  """By what is heard: the same recordings under other names, too."""
  run.train_and_evaluate(config, tmp_path / 'run')
  num_trained = (
    len((tmp_path / 'run' / 'trained_on.csv').open().readlines()) - 1
  )
  assert num_trained == 8
  if warned:
    for path in (tmp_path / 'music').glob('*/*.wav'):
      path.rename(path.with_name(f'renamed-{path.name}'))
  config.data.eval_split = sides
  caplog.clear()
  run.evaluate_only(config, tmp_path / 'run')
  said = [x for x in caplog.messages if 'of the evaluated tracks' in x]
  told = f'{num_trained} of the evaluated tracks were trained on'
  assert said == [told] * warned
  (tmp_path / 'run' / 'trained_on.csv').unlink()  # as of a version before
  run.evaluate_only(config, tmp_path / 'run')
  assert 'keeps no list of what was trained on' in caplog.text


def test_cached_result_is_not_that_of_another_question(config, tmp_path):
  workdir = tmp_path / 'run'
  run.train_and_evaluate(config, workdir)
  for num_bootstrap in (222, 333):
    config.eval.num_bootstrap = num_bootstrap
    run.evaluate_only(config, workdir)
    assert _evaluation(workdir)['num_bootstrap'] == num_bootstrap


def test_advice_of_an_error_can_be_followed_in_the_same_folder(
  config, tmp_path
):
  config.data.valid_fraction = 0.0
  with pytest.raises(ConfigError, match='set config.train.select=last'):
    run.train_and_evaluate(config, tmp_path / 'run')
  config.train.select = 'last'
  run.train_and_evaluate(config, tmp_path / 'run')
  assert (tmp_path / 'run' / 'results.json').exists()


@pytest.mark.parametrize(
  ('overrides', 'warned'),
  [
    ({'data.eval_split': 'test,valid'}, 'best epoch is chosen on'),
    ({'data.eval_split': 'train'}, 'evaluated tracks are trained on'),
    ({}, ''),
  ],
)
def test_optimistic_results_are_called_so(
  config, tmp_path, caplog, overrides, warned
):
  config.update_from_flattened_dict(overrides)
  run.train_and_evaluate(config, tmp_path / 'run')
  assert warned in caplog.text
  if not warned:
    assert 'best epoch' not in caplog.text


def test_unknown_genre_is_refused_before_decoding(config, tmp_path):
  workdir = tmp_path / 'run'
  run.train_and_evaluate(config, workdir)
  (tmp_path / 'music' / 'rock').rename(tmp_path / 'music' / 'zouk')
  config.data.prepared_dir = str(tmp_path / 'elsewhere')
  with pytest.raises(DataError, match='unknown genre zouk; known: jazz, rock'):
    run.evaluate_only(config, workdir)
  assert not (tmp_path / 'elsewhere').exists()
