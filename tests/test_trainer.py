import dataclasses

import jax
import numpy as np
import pytest

from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import make_splits
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training.feed import epoch_order, genre_weights
from mgc_jax.training.metrics_log import read_metrics
from mgc_jax.training.trainer import Trainer


@pytest.fixture
def trainer(tiny_config, tmp_path):
  """A function that builds a trainer on the tiny synthetic corpus."""
  prepared = prepare(tiny_config)

  def build(workdir='run', **overrides):
    config = tiny_config.copy_and_resolve_references()
    config.update_from_flattened_dict(overrides)
    splits = make_splits(prepared, config)
    (tmp_path / workdir).mkdir(exist_ok=True)
    reader = Reader(prepared.index)
    return Trainer(config, tmp_path / workdir, splits, reader)

  return build


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


def test_rows_must_be_divisible_by_members(trainer):
  message = 'config.model.num_members=3: must divide config.train.batch_size=8'
  with pytest.raises(ConfigError, match=message):
    trainer(**{'model.num_members': 3, 'train.batch_size': 8})


def test_not_every_epoch_need_be_evaluated(trainer, tmp_path):
  overrides = {'train.num_epochs': 5, 'train.evaluate_every_epochs': 2}
  trainer(**overrides, **{'train.select': 'last'}).run()
  lines = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  evaluated = [n for n, line in enumerate(lines, 1) if 'valid_loss' in line]
  assert evaluated == [2, 4, 5]
  assert bundles.load(tmp_path / 'run' / 'bundle').info['epoch'] == 4


def test_run_writes_a_line_an_epoch_and_a_bundle(trainer, tmp_path):
  trainer(**{'train.num_epochs': 2}).run()
  lines = read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  assert [line['epoch'] for line in lines] == [0, 1]
  assert set(lines[0]) == {
    'epoch',
    'step',
    'train_loss',
    'train_window_accuracy',
    'valid_loss',
    'valid_window_accuracy',
    'valid_track_loss',
    'valid_track_accuracy',
    'examples_per_s',
    'learning_rate',
  }
  bundle = bundles.load(tmp_path / 'run' / 'bundle')
  assert len(bundle.genres) == 10
  assert bundle.config.model.lstm.stateful
  assert len(list((tmp_path / 'run' / 'checkpoints').glob('[0-9]*'))) in (1, 2)


def test_a_run_is_not_continued_on_other_data(trainer):
  trainer().run()
  with pytest.raises(DataError, match='begun on other data.*--workdir'):
    trainer(**{'data.split_seed': 5})


def test_band_statistics_are_those_of_the_training_side(
  trainer, tiny_config, tmp_path
):
  trainer().run()
  prepared = prepare(tiny_config)
  rows = make_splits(prepared, tiny_config).examples['train'].rows
  mean, std = prepared.index.band_stats(rows)
  bundle = bundles.load(tmp_path / 'run' / 'bundle')
  np.testing.assert_array_equal(bundle.band_mean, mean)
  np.testing.assert_array_equal(bundle.band_std, std)
  everything, _ = prepared.index.band_stats(np.arange(len(prepared.index)))
  assert np.abs(everything - mean).max() > 0.01


def test_patience_stops_early(trainer, tmp_path):
  run = trainer(**{'train.num_epochs': 50, 'train.patience_epochs': 2})
  run._validate = lambda state, variables: {
    'track_accuracy': 0.5,
    'track_loss': 1.0,
  }
  run.run()
  assert len(read_metrics(tmp_path / 'run' / 'metrics.jsonl')) == 3


def test_the_averaged_weights_are_what_a_bundle_holds(trainer, tmp_path):
  for name, decay in (('plain', 0.0), ('averaged', 0.9)):
    overrides = {'train.ema_decay': decay, 'train.class_weights': True}
    trainer(name, **overrides, **{'train.warmup_epochs': 0.0}).run()
  plain, averaged = (
    bundles.digest(tmp_path / name / 'bundle') for name in ('plain', 'averaged')
  )
  assert plain != averaged


def test_genres_weigh_the_inverse_of_their_share():
  label = np.repeat([0, 1, 2], [6, 3, 1])
  weights = genre_weights(label, 3)
  np.testing.assert_allclose(weights, [10 / 18, 10 / 9, 10 / 3])
  assert weights[label].sum() == pytest.approx(10)


def test_a_genre_with_nothing_to_train_on_is_named(trainer):
  run = trainer()
  rows = run._train.rows
  kept = rows[run._index.label[rows] != 3]
  run._train = dataclasses.replace(run._train, rows=kept)
  with pytest.raises(DataError, match='no track of experimental in the train'):
    run._check()


@pytest.mark.parametrize(
  ('field', 'value', 'levels'),
  [
    ('data.protocol', 'window', 'window'),
    ('data.examples', 'window', 'window'),
    ('windows.num_windows', 1, 'excerpt'),  # cut from one, which is known
  ],
)
def test_one_window_at_a_time_is_trained_on(
  trainer, tmp_path, field, value, levels
):
  trainer(**{field: value, 'windows.standardise': 'excerpt'}).run()
  assert read_metrics(tmp_path / 'run' / 'metrics.jsonl')
  # Whoever has more windows of a track has them answered one by one, too.
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
def test_what_cannot_be_trained_is_said_before(trainer, overrides, message):
  with pytest.raises(ConfigError, match=message):
    trainer(**overrides)


def test_empty_training_side(trainer):
  with pytest.raises(DataError, match='training split is empty'):
    run = trainer()
    empty = run._train.__class__(*(np.zeros(0, int),) * 3)
    run._train = empty
    run._check()


@pytest.mark.parametrize('cache', ['device', 'none'])
def test_training_moves_no_array_unasked(cache, trainer):
  """Between host and device, where each such copy would cost a step's time."""
  built = trainer(**{'train.num_epochs': 2, 'data.cache': cache})
  with jax.transfer_guard('disallow'):
    built.run()
