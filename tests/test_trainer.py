import dataclasses
import functools
import io
import json
import math
import shutil
import sys
from importlib.util import find_spec as is_installed

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import make_splits
from mgc_jax.distributed.mesh import data_mesh
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training import feed as feeds
from mgc_jax.training import run_writer, trainer
from mgc_jax.training.feed import epoch_order, genre_weights
from mgc_jax.training.metrics_log import read_metrics
from mgc_jax.training.run_writer import RunWriter
from tests.conftest import tiny

BATCH_NORM = {'model.cnn.norm': 'batch'}


@pytest.fixture(scope='module')
def config():
  """The synthetic corpus, and a network that compiles in a moment."""
  config = tiny()
  cnn, dense = config.model.cnn, config.model.dense
  cnn.filters, cnn.pool_frames, cnn.pool_bands = (2,), (4,), (4,)
  cnn.dropout, cnn.norm = (0.1,), 'none'
  dense.sizes, dense.dropout = (), ()
  config.train.warmup_epochs = 0.0
  return config


def _arguments(config, workdir, overrides):
  """Returns what `train` takes."""
  config = config.copy_and_resolve_references()
  config.update_from_flattened_dict(overrides)
  prepared = prepare(config)
  splits = make_splits(prepared, config)
  workdir.mkdir(exist_ok=True)
  typed = Config.from_dict(config)
  return typed, splits, Reader(prepared.index), RunWriter(workdir)


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory):
  """The folder of a finished run of two epochs, which no test changes."""
  folder = tmp_path_factory.mktemp('trained') / 'run'
  trainer.train(*_arguments(config, folder, {'train.num_epochs': 2}))
  return folder


@pytest.fixture
def continued(trained, tmp_path):
  """A copy of that run, which `train` continues."""
  return shutil.copytree(trained, tmp_path / 'run')


@pytest.fixture
def arguments(config, tmp_path):
  """A function that returns what `train` takes, for the synthetic corpus."""

  def build(workdir='run', **overrides):
    return _arguments(config, tmp_path / workdir, overrides)

  return build


@pytest.fixture
def train(arguments):
  """A function that trains on the synthetic corpus."""

  def run(workdir='run', **overrides):
    trainer.train(*arguments(workdir, **overrides))

  return run


@pytest.fixture
def check(arguments):
  """A function that checks a run, with `change` applied to its examples."""

  def run(change=lambda examples, index: examples, **overrides):
    config, splits, reader, _ = arguments(**overrides)
    examples = dict(splits.examples)
    examples['train'] = change(examples['train'], reader.index)
    splits = dataclasses.replace(splits, examples=examples)
    trainer.check_run(config, splits, reader.index, data_mesh())

  return run


def test_order_of_an_epoch_is_a_function_of_seed_and_epoch():
  one, two = (epoch_order(10, 4, 0, 3) for _ in range(2))
  np.testing.assert_array_equal(one, two)
  assert len(one) == 12 and set(one) == set(range(10))
  assert one.tolist() != epoch_order(10, 4, 0, 4).tolist()
  assert one.tolist() != epoch_order(10, 4, 1, 3).tolist()
  assert len(epoch_order(3, 8, 0, 0)) == 8


def test_every_member_visits_every_example_in_an_order_of_its_own():
  order = epoch_order(10, 6, 0, 3, num_members=2).reshape(-1, 6)
  assert len(order) == 4  # three rows of a batch for each
  own = [order[:, member::2].ravel() for member in range(2)]
  for rows in own:
    assert len(rows) == 12 and set(rows) == set(range(10))
  assert own[0].tolist() != own[1].tolist()


def test_batch_size_must_be_a_multiple_of_the_members(check):
  message = 'config.model.num_members=3: must divide config.train.batch_size=8'
  with pytest.raises(ConfigError, match=message):
    check(**{'model.num_members': 3, 'train.batch_size': 8})


def test_every_nth_epoch_and_the_last_are_evaluated(train, tmp_path):
  overrides = {'train.num_epochs': 5, 'train.evaluate_every_epochs': 2}
  train(**overrides, **{'train.select': 'last'})
  lines = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  evaluated = [n for n, line in enumerate(lines, 1) if 'valid_loss' in line]
  assert evaluated == [2, 4, 5]
  assert bundles.load(tmp_path / 'run' / 'bundle').info['epoch'] == 5


class _Terminal(io.StringIO):
  def isatty(self):
    return True


def test_the_bar_says_that_it_compiles_and_what_is_left(train, monkeypatch):
  monkeypatch.setattr(sys, 'stderr', _Terminal())
  always = functools.partial(trainer.tqdm, mininterval=0)
  monkeypatch.setattr(trainer, 'tqdm', always)
  train(**{'train.num_epochs': 3})
  shown = sys.stderr.getvalue().split('\r')
  assert 'compiling' in next(line for line in shown if 'epoch 1/3' in line)
  last = [line for line in shown if 'epoch 3/3' in line][-1]
  assert '00:00 left in all' in last and 'compiling' not in last


def test_run_writes_a_line_an_epoch_and_a_bundle(trained):
  lines = read_metrics(trained / 'metrics.jsonl')
  assert [line['epoch'] for line in lines] == [1, 2]
  assert set(lines[0]) == {
    'epoch',
    'step',
    'train_loss',
    'train_window_accuracy',
    'grad_norm',
    'update_norm',
    'valid_loss',
    'valid_window_accuracy',
    'valid_track_loss',
    'valid_track_accuracy',
    'examples_per_s',
    'learning_rate',
  }
  bundle = bundles.load(trained / 'bundle')
  assert len(bundle.genres) == 10
  assert bundle.config.model.lstm.stateful
  assert len(list((trained / 'checkpoints').glob('[0-9]*'))) in (1, 2)


def test_a_run_that_is_given_more_epochs_ends_like_a_longer_one(
  train, tmp_path
):
  fixed = {'train.schedule': 'constant', 'train.select': 'last'}
  train('long', **{'train.num_epochs': 2}, **fixed)
  train('short', **{'train.num_epochs': 1}, **fixed)
  assert len(read_metrics(tmp_path / 'short' / 'metrics.jsonl')) == 1
  train('short', **{'train.num_epochs': 2}, **fixed)
  long, short = tmp_path / 'long', tmp_path / 'short'
  assert len(read_metrics(short / 'metrics.jsonl')) == 2
  assert bundles.digest(short / 'bundle') == bundles.digest(long / 'bundle')
  settings = (long / 'config.json').read_text()
  assert (short / 'config.json').read_text() == settings


def test_a_run_is_not_continued_on_other_data(train, continued):
  with pytest.raises(DataError, match='started on other data.*--workdir'):
    train(**{'data.split_seed': 5})


def test_band_statistics_are_those_of_the_training_split(trained, config):
  prepared = prepare(config)
  rows = make_splits(prepared, config).examples['train'].rows
  mean, std = prepared.index.band_stats(rows)
  bundle = bundles.load(trained / 'bundle')
  np.testing.assert_array_equal(bundle.band_mean, mean)
  np.testing.assert_array_equal(bundle.band_std, std)
  everything, _ = prepared.index.band_stats(np.arange(len(prepared.index)))
  assert np.abs(everything - mean).max() > 0.01


def test_patience_stops_early(train, tmp_path, monkeypatch):
  scores = {'track_accuracy': 0.5, 'track_loss': 1.0}
  monkeypatch.setattr(trainer, 'score_validation', lambda *_: scores)
  train(**{'train.num_epochs': 50, 'train.patience_epochs': 2})
  assert len(read_metrics(tmp_path / 'run' / 'metrics.jsonl')) == 3


def test_a_bundle_holds_the_averaged_weights(arguments, tmp_path):
  overrides = {'train.ema_decay': 0.9, 'train.class_weights': True}
  parts = arguments(**overrides)
  trainer.train(*parts)
  run = trainer.create_run(*parts)
  state, _ = trainer.restore_or_init(run)
  run.checkpoints.close()
  found = bundles.load(tmp_path / 'run' / 'bundle').variables['params']
  assert _same(found, state.ema_params)
  assert not _same(found, state.params)


def _same(one, two):
  leaves = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
  return all(np.array_equal(a, b) for a, b in leaves)


def test_genres_are_weighted_by_the_inverse_of_their_share():
  label = np.repeat([0, 1, 2], [6, 3, 1])
  weights = genre_weights(label, 3)
  np.testing.assert_allclose(weights, [10 / 18, 10 / 9, 10 / 3])
  assert weights[label].sum() == pytest.approx(10)


def test_a_genre_without_training_tracks_is_reported(check):
  def without_a_genre(examples, index):
    kept = examples.rows[index.label[examples.rows] != 3]
    return dataclasses.replace(examples, rows=kept)

  with pytest.raises(DataError, match='no track of experimental in the train'):
    check(without_a_genre)


@pytest.mark.parametrize(
  ('field', 'value', 'levels'),
  [
    ('data.protocol', 'window', 'window'),
    ('data.examples', 'window', 'window'),
    ('windows.num_windows', 1, 'excerpt'),  # cut from a whole excerpt
  ],
)
def test_a_model_trained_on_single_windows_keeps_no_state_between_them(
  train, tmp_path, field, value, levels
):
  train(**{field: value, 'windows.standardise': 'excerpt'})
  assert read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  # Several windows of a track are then predicted one by one, too.
  bundle = bundles.load(tmp_path / 'run' / 'bundle')
  assert not bundle.config.model.lstm.stateful
  assert bundle.config.windows.standardise == levels


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    ({'windows.num_frames': 95}, 'config.windows.num_frames=95: longer than'),
    ({'data.valid_fraction': 0.0}, 'select=best: there is no validation split'),
  ],
)
def test_settings_that_do_not_fit_the_data_are_reported(
  check, overrides, message
):
  with pytest.raises(ConfigError, match=message):
    check(**overrides)


def test_an_empty_training_split_is_reported(check):
  with pytest.raises(DataError, match='training split is empty'):
    check(lambda examples, _: type(examples)(*(np.zeros(0, int),) * 3))


@pytest.mark.parametrize('cache', ['device', 'none'])
def test_training_makes_no_implicit_transfer(cache, train, monkeypatch):
  """Each copy between host and device would cost the time of a step."""

  def guarded(stage):
    @functools.wraps(stage)
    def run(*args):
      with jax.transfer_guard('disallow'):
        return stage(*args)

    return run

  for name in ('make_feed', 'train_epoch', 'evaluate_epoch', 'save'):
    monkeypatch.setattr(trainer, name, guarded(getattr(trainer, name)))
  train(**{'train.num_epochs': 2, 'data.cache': cache}, **BATCH_NORM)


@pytest.fixture
def fail_at(monkeypatch):
  """A function that makes the loss NaN in one step, counted from 1."""

  def at(number):
    def step(state, batch, key, **static):
      weight = jnp.where(state.step == number - 1, jnp.nan, batch['weight'])
      batch = {**batch, 'weight': weight}
      return trainer_step(state, batch, key, **static)

    trainer_step = trainer.train_step
    monkeypatch.setattr(trainer, 'train_step', step)

  return at


EPOCH = 3  # steps, of the 20 training examples in batches of 8


@pytest.mark.parametrize(
  ('select', 'cache'),
  [
    ('best', 'device'),
    ('last', 'none'),
    pytest.param('best', 'none', marks=pytest.mark.slow),
    pytest.param('last', 'device', marks=pytest.mark.slow),
  ],
)
def test_a_loss_that_is_nan_stops_in_its_epoch_and_reports_the_step(
  train, fail_at, tmp_path, select, cache
):
  fail_at(EPOCH + 2)
  overrides = {'train.num_epochs': 9, 'train.select': select}
  with pytest.raises(DataError, match='not finite in epoch 2, step 5; use'):
    train(**overrides, **{'data.cache': cache})
  # What was saved before has finite weights and remains.
  lines = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  assert [line['epoch'] for line in lines] == [1]
  bundles.load(tmp_path / 'run' / 'bundle')
  saved = [p.name for p in (tmp_path / 'run' / 'checkpoints').glob('[0-9]*')]
  assert saved == [str(EPOCH)]


@pytest.mark.parametrize('in_chunks', [True, False])
def test_a_loss_that_is_nan_stops_within_a_long_epoch(
  train, fail_at, monkeypatch, in_chunks
):
  """It is found once another chunk of steps is on its way."""
  chunks_run = []

  class Resident(feeds.Resident):
    def run(self, *args):
      for advanced in super().run(*args):
        chunks_run.append(advanced[-1])
        yield advanced

  made = functools.partial(Resident, in_chunks=in_chunks)
  monkeypatch.setattr(feeds, 'Resident', made)
  monkeypatch.setattr(feeds, 'STEPS_PER_CHUNK', 2)
  fail_at(4)
  with pytest.raises(DataError, match='not finite in epoch 1, step 4'):
    train(**{'train.batch_size': 2, 'data.cache': 'device'})
  assert sum(chunks_run) == 6


def test_a_failed_step_is_found_before_a_checkpoint(train, fail_at, tmp_path):
  fail_at(2)
  with pytest.raises(DataError, match='epoch 1, step 2'):
    train(**{'train.checkpoint_every_steps': 1})
  saved = [p.name for p in (tmp_path / 'run' / 'checkpoints').glob('[0-9]*')]
  assert saved == ['1']


def test_norms_of_gradients_and_updates_are_logged(trained):
  for line in read_metrics(trained / 'metrics.jsonl'):
    for name in ('grad_norm', 'update_norm'):
      assert line[name] > 0 and math.isfinite(line[name])


def test_a_mean_norm_is_that_of_all_steps_of_an_interrupted_epoch(
  trained, train, tmp_path, monkeypatch, caplog
):
  stop = {'train.num_epochs': 2, 'train.checkpoint_every_steps': 2}
  monkeypatch.setattr(trainer, 'evaluate_epoch', _interrupt)
  with pytest.raises(KeyboardInterrupt):
    train(**stop)
  monkeypatch.undo()
  caplog.set_level('INFO', 'mgc_jax')
  train(**stop)
  assert 'resumed at step 2' in caplog.text
  whole, resumed = (
    read_metrics(folder / 'metrics.jsonl')
    for folder in (trained, tmp_path / 'run')
  )
  for name in ('grad_norm', 'update_norm', 'train_loss'):
    assert whole[0][name] == resumed[0][name]


def _interrupt(run, *_):
  run.checkpoints.close()
  raise KeyboardInterrupt


def test_a_run_starts_from_checkpoint_then_bundle_then_random_weights(
  trained, train, arguments
):
  def start(workdir, **overrides):
    *parts, writer = arguments(workdir, **overrides)
    run = trainer.create_run(*parts, writer)
    state, progress = trainer.restore_or_init(run)
    run.checkpoints.close()
    return int(state.step), progress.epochs_done, state.params

  init_from = {'train.init_from': str(trained / 'bundle')}
  of_bundle = bundles.load(trained / 'bundle').variables['params']

  step, epochs, random = start('new')
  assert (step, epochs) == (0, 0) and not _same(random, of_bundle)
  assert not _same(random, start('new', seed=1)[2])
  step, epochs, params = start('new', **init_from)
  assert (step, epochs) == (0, 0) and _same(params, of_bundle)
  train('tuned', **init_from)
  step, epochs, params = start('tuned', **init_from)
  assert (step, epochs) == (EPOCH, 1) and not _same(params, of_bundle)


def test_a_run_of_an_earlier_version_is_rejected_with_a_message(
  train, continued
):
  steps = [int(p.name) for p in (continued / 'checkpoints').glob('[0-9]*')]
  latest = continued / 'checkpoints' / str(max(steps))
  path = latest / 'progress' / 'metadata'
  found = json.loads(path.read_text())
  del found['format_version']
  path.write_text(json.dumps(found))
  with pytest.raises(DataError, match='checkpoints of another version'):
    train(**{'train.num_epochs': 3})


def test_only_one_process_writes(train, tmp_path, monkeypatch):
  """Of checkpoints every process writes its part, so they are not counted."""
  monkeypatch.setattr(run_writer, 'is_writer', lambda: False)
  train()
  assert [p.name for p in (tmp_path / 'run').iterdir()] == ['checkpoints']


def test_metrics_are_written_for_tensorboard_if_asked_for(train, continued):
  if not any(map(is_installed, ('tensorboardX', 'tensorboard'))):
    pytest.skip('no library that writes TensorBoard files')
  assert not (continued / 'tensorboard').exists()
  train(**{'train.tensorboard': True, 'train.num_epochs': 3})
  (path,) = (continued / 'tensorboard').glob('events.*')
  for name in (b'grad_norm', b'update_norm', b'train_loss', b'valid_loss'):
    assert name in path.read_bytes()


def test_a_missing_tensorboard_library_is_reported_before_anything_is_written(
  train, tmp_path, monkeypatch
):
  for name in ('tensorboardX', 'tensorboard.summary'):
    monkeypatch.setitem(sys.modules, name, None)
  with pytest.raises(ConfigError, match='pip install tensorboardX'):
    train(**{'train.tensorboard': True})
  assert [p.name for p in (tmp_path / 'run').iterdir()] == ['checkpoints']
