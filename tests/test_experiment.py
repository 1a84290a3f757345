import json
import pathlib
import shutil

import pytest

from mgc_jax.evaluation import plots
from mgc_jax.system import figure_file
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training import experiment
from mgc_jax.training.metrics_log import read_metrics
from tests.conftest import tiny, write_music


def _use_small_network(config):
  """Chooses what compiles in a moment."""
  cnn, dense = config.model.cnn, config.model.dense
  cnn.filters, cnn.pool_frames, cnn.pool_bands = (2,), (4,), (4,)
  cnn.dropout, cnn.norm = (0.0,), 'none'
  dense.sizes, dense.dropout = (), ()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A finished run, for tests that do not need the training itself."""
  folder = tmp_path_factory.mktemp('trained')
  config = tiny()
  _use_small_network(config)
  config.data.source = 'folder'
  config.data.root = str(write_music(folder / 'music'))
  config.data.prepared_dir = str(folder / 'prepared')
  experiment.train_and_evaluate(config, folder / 'run')
  return folder


@pytest.fixture
def without_figures(monkeypatch):
  """Writes no figures, which would take most of a test's time."""
  monkeypatch.setattr(figure_file, 'save', lambda figure, path: None)


@pytest.fixture
def workdir(trained, tmp_path):
  """A copy of that run, whose tracks are those of `config`."""
  return shutil.copytree(trained / 'run', tmp_path / 'run')


@pytest.fixture
def config(folder_config):
  folder_config.data.allow_missing = True
  _use_small_network(folder_config)
  return folder_config


def test_another_evaluation_keeps_the_results_of_the_run(
  config, workdir, capsys
):
  first = json.loads((workdir / 'results.json').read_text())
  assert first['genres'] == ['jazz', 'rock']
  assert first['num_tracks'] == 2
  saved = json.loads((workdir / 'config.json').read_text())
  assert saved['model']['num_genres'] == 2

  config.data.eval_split = 'train,valid,test'
  experiment.evaluate_only(config, workdir)
  every = _evaluation(workdir)
  assert every['num_tracks'] == 12 and every['split'] == 'train,valid,test'
  assert every['weights_sha256'] == first['weights_sha256']
  assert every['num_tracks_without_artist'] == 12
  assert 'track accuracy' in capsys.readouterr().out
  # The run's own remain: cross-validation and sweeps read them.
  assert json.loads((workdir / 'results.json').read_text()) == first
  for name in ('curves.png', 'confusion_matrix.png'):
    assert (workdir / 'plots' / name).stat().st_size > 5000


def _evaluation(workdir):
  (path,) = workdir.glob('evaluations/*/results.json')
  return json.loads(path.read_text())


@pytest.mark.usefixtures('without_figures')
@pytest.mark.parametrize(
  ('splits', 'warned'), [('train,valid,test', True), ('test', False)]
)
def test_evaluating_on_training_tracks_causes_a_warning(
  config, workdir, tmp_path, caplog, splits, warned
):
  """The samples are compared, so the same recordings are found if renamed."""
  listed = (workdir / 'trained_on.csv').read_text()
  num_trained = len(listed.splitlines()) - 1
  assert num_trained == 8
  if warned:
    for path in (tmp_path / 'music').glob('*/*.wav'):
      path.rename(path.with_name(f'renamed-{path.name}'))
  config.data.eval_split = splits
  caplog.clear()
  experiment.evaluate_only(config, workdir)
  messages = [x for x in caplog.messages if 'of the evaluated tracks' in x]
  expected = f'{num_trained} of the evaluated tracks were trained on'
  assert messages == [expected] * warned
  (workdir / 'trained_on.csv').unlink()  # as in a run of an early version
  experiment.evaluate_only(config, workdir)
  assert 'has no list of the tracks that it was trained on' in caplog.text


@pytest.mark.usefixtures('without_figures')
def test_cached_results_are_not_used_for_other_settings(config, workdir):
  for num_bootstrap in (222, 333):
    config.eval.num_bootstrap = num_bootstrap
    experiment.evaluate_only(config, workdir)
    assert _evaluation(workdir)['num_bootstrap'] == num_bootstrap


PLOTS = ('distribution', 'spectrograms', 'curves', 'confusion')


def test_results_are_written_before_plots_and_do_not_need_them(
  config, tmp_path, monkeypatch, caplog, capsys
):
  workdir, written = tmp_path / 'run', []

  def fail(*args):
    names = ('predictions.csv', 'results.json')
    written.append(all((workdir / name).exists() for name in names))
    raise RuntimeError('no font')

  for name in PLOTS:
    monkeypatch.setattr(plots, f'plot_{name}', fail)
  experiment.train_and_evaluate(config, workdir)
  assert written == [True] * len(PLOTS)
  assert 'track accuracy' in capsys.readouterr().out
  messages = [text for text in caplog.messages if 'not drawn' in text]
  assert len(messages) == len(PLOTS)
  for name in PLOTS:
    (one,) = [text for text in messages if f'plots/{name}' in text]
    assert one.endswith('.png: not drawn: RuntimeError: no font')


def test_plots_that_failed_are_drawn_by_the_same_command_later(
  config, tmp_path, monkeypatch
):
  folder = tmp_path / 'run' / 'plots'
  with monkeypatch.context() as broken:
    for name in PLOTS:
      broken.setattr(plots, f'plot_{name}', None)
    experiment.train_and_evaluate(config, tmp_path / 'run')
  assert not folder.exists()
  experiment.train_and_evaluate(config, tmp_path / 'run')
  assert len(list(folder.glob('*.png'))) == len(PLOTS)
  drawn = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  experiment.train_and_evaluate(config, tmp_path / 'run')
  assert {path: path.stat().st_mtime_ns for path in drawn} == drawn


def test_an_evaluation_draws_its_own_confusion_matrix_again(config, workdir):
  for num_bootstrap in (222, 333):
    config.eval.num_bootstrap = num_bootstrap
    experiment.evaluate_only(config, workdir)
    (path,) = workdir.glob('evaluations/*/plots/confusion_matrix.png')
    results = path.parent.parent / 'results.json'
    assert path.stat().st_mtime_ns >= results.stat().st_mtime_ns


@pytest.mark.usefixtures('without_figures')
def test_advice_of_an_error_can_be_followed_in_the_same_folder(
  config, tmp_path
):
  config.data.valid_fraction = 0.0
  with pytest.raises(ConfigError, match='set config.train.select=last'):
    experiment.train_and_evaluate(config, tmp_path / 'run')
  config.train.select = 'last'
  experiment.train_and_evaluate(config, tmp_path / 'run')
  assert (tmp_path / 'run' / 'results.json').exists()


@pytest.mark.usefixtures('without_figures')
@pytest.mark.parametrize(
  ('overrides', 'warned'),
  [
    ({'data.eval_split': 'test,valid'}, 'best epoch is chosen on'),
    ({'data.eval_split': 'train'}, 'evaluated tracks are trained on'),
    ({}, ''),
  ],
)
def test_optimistic_results_cause_a_warning(
  config, tmp_path, caplog, overrides, warned
):
  config.update_from_flattened_dict(overrides)
  experiment.train_and_evaluate(config, tmp_path / 'run')
  assert warned in caplog.text
  if not warned:
    assert 'best epoch' not in caplog.text


def test_unknown_genre_is_rejected_before_decoding(config, workdir, tmp_path):
  (tmp_path / 'music' / 'rock').rename(tmp_path / 'music' / 'zouk')
  config.data.prepared_dir = str(tmp_path / 'elsewhere')
  with pytest.raises(DataError, match='unknown genre zouk; known: jazz, rock'):
    experiment.evaluate_only(config, workdir)
  assert not (tmp_path / 'elsewhere').exists()


@pytest.mark.usefixtures('without_figures')
@pytest.mark.parametrize('own_genres_only', [True, False])
def test_collections_with_one_genre_have_nothing_to_compare(
  own_genres_only, config, tmp_path
):
  """So the loss is 0, if it compares only the genres of the collection."""
  root = pathlib.Path(config.data.root)
  for genre in ('jazz', 'rock'):
    rows = [f'{i}.wav,{genre} {i},{genre}\n' for i in range(6)]
    table = 'path,track_id,genre\n' + ''.join(rows)
    (root / genre / 'manifest.csv').write_text(table)
  config.data.source, config.data.root = 'manifest', None
  config.data.manifest = ','.join(map(str, sorted(root.glob('*/*.csv'))))
  config.augment.mixup_alpha = 0.0
  config.train.own_genres_only = own_genres_only
  experiment.train_and_evaluate(config, tmp_path / 'run')
  loss = read_metrics(tmp_path / 'run' / 'metrics.jsonl')[0]['train_loss']
  assert loss == 0 if own_genres_only else loss > 0.1
