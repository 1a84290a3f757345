import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from mgc_jax import bundle as bundles
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.splits import make_splits
from mgc_jax.errors import ConfigError, DataError
from mgc_jax.input_pipeline import Reader
from mgc_jax.metrics_log import MetricsLog, read_metrics
from mgc_jax.train import Trainer, epoch_order


@pytest.fixture
def trainer(tiny_config, tmp_path):
  """A function that builds a trainer on the tiny synthetic corpus."""
  prepared = prepare(tiny_config)

  def build(workdir='run', **overrides):
    config = tiny_config.copy_and_resolve_references()
    config.update_from_flattened_dict(overrides)
    split = make_splits(prepared, config)
    (tmp_path / workdir).mkdir(exist_ok=True)
    reader = Reader(prepared.index)
    return Trainer(config, tmp_path / workdir, split, reader)

  return build


def test_order_of_an_epoch_is_a_function_of_seed_and_epoch():
  one, two = (epoch_order(10, 4, 0, 3) for _ in range(2))
  np.testing.assert_array_equal(one, two)
  assert len(one) == 12 and set(one) == set(range(10))
  assert one.tolist() != epoch_order(10, 4, 0, 4).tolist()
  assert one.tolist() != epoch_order(10, 4, 1, 3).tolist()
  assert len(epoch_order(3, 8, 0, 0)) == 8


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
  assert len(list((tmp_path / 'run' / 'checkpoints').glob('[0-9]*'))) in (1, 2)


def test_started_again_a_run_continues_from_its_checkpoint(
  trainer, tmp_path, caplog
):
  trainer('one', **{'train.num_epochs': 3, 'train.select': 'last'}).run()
  parts = trainer('two', **{'train.num_epochs': 3, 'train.select': 'last'})
  finished = parts._finished
  parts._finished = lambda progress: progress['epoch'] == 1  # killed there
  parts.run()
  parts._finished = finished
  caplog.set_level('INFO')
  trainer('two', **{'train.num_epochs': 3, 'train.select': 'last'}).run()
  assert f'resumed at step {2 * parts._steps_per_epoch}' in caplog.text
  folders = [tmp_path / name for name in ('one', 'two')]
  epochs = [
    [line['epoch'] for line in read_metrics(folder / 'metrics.jsonl')]
    for folder in folders
  ]
  assert epochs == [[0, 1, 2]] * 2
  one, two = (bundles.load(folder / 'bundle') for folder in folders)
  for a, b in zip(
    jax.tree.leaves(one.variables), jax.tree.leaves(two.variables), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_a_run_is_not_continued_on_other_data(trainer):
  trainer().run()
  other = trainer(**{'data.split_seed': 5})
  with pytest.raises(DataError, match='begun on other data.*--workdir'):
    other.run()


def test_best_epoch_is_chosen_by_track_accuracy_then_loss(trainer):
  run = trainer()
  progress = {'epoch': -1, 'best_epoch': -1, 'best_score': None}
  scores = [(0.5, 2.0), (0.6, 3.0), (0.6, 2.5), (0.6, 2.5), (0.4, 0.1)]
  best = []
  for epoch, (accuracy, loss) in enumerate(scores):
    valid = {'track_accuracy': accuracy, 'track_loss': loss}
    progress = run._next_progress(progress, epoch, valid)
    best.append(progress['best_epoch'])
  assert best == [0, 1, 2, 2, 2]


def test_patience_stops_early(trainer, tmp_path):
  run = trainer(**{'train.num_epochs': 50, 'train.patience_epochs': 2})
  run._validate = lambda state: {'track_accuracy': 0.5, 'track_loss': 1.0}
  run.run()
  assert len(read_metrics(tmp_path / 'run' / 'metrics.jsonl')) == 3


def test_averaged_and_weighted_training_runs(trainer, tmp_path):
  trainer(**{'train.ema_decay': 0.5, 'train.class_weights': True}).run()
  assert bundles.load(tmp_path / 'run' / 'bundle').num_params > 0


def test_class_weights_are_the_inverse_of_the_counts(trainer):
  weights = trainer(**{'train.class_weights': True})._genre_weights()
  np.testing.assert_allclose(weights, np.ones(10))


def test_window_protocol_trains_on_single_windows(trainer, tmp_path):
  trainer(**{'data.protocol': 'window'}).run()
  assert read_metrics(tmp_path / 'run' / 'metrics.jsonl')


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    ({'windows.num_frames': 95}, 'config.windows.num_frames=95: longer than'),
    ({'data.valid_fraction': 0.0}, 'select=best: the split has no validation'),
  ],
)
def test_what_cannot_be_trained_is_said_before(trainer, overrides, message):
  with pytest.raises(ConfigError, match=message):
    trainer(**overrides)


def test_empty_training_side(trainer):
  with pytest.raises(DataError, match='training side of the split is empty'):
    run = trainer()
    empty = run._train.__class__(*(np.zeros(0, int),) * 3)
    run._train = empty
    run._check()


def test_log_has_each_epoch_once_after_a_crash(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  text = ''.join(json.dumps({'epoch': i, 'x_y': 1.0}) + '\n' for i in range(3))
  path.write_text(text + '{"epoch": 3, "x_')
  log = MetricsLog(path, last_epoch=1)
  log.append({'epoch': 2, 'x_y': 2.0})
  assert [line['epoch'] for line in read_metrics(path)] == [0, 1, 2]


_TWO_DEVICES = """
import sys, json
import jax, numpy as np
from ml_collections import FrozenConfigDict
from tests.conftest import tiny
from mgc_jax.models import create_model
from mgc_jax.optim import create_optimizer
from mgc_jax.partition import data_mesh, replicated, shard_batch
from mgc_jax.train_state import create_state, train_step
import functools

config = tiny()
config.windows.num_windows = 2
model, frozen = create_model(config), FrozenConfigDict(config)
tx = create_optimizer(config.train, 2)
mesh = data_mesh()
state = create_state(model, tx, frozen, np.zeros(20, 'f'), np.ones(20, 'f'))
state = jax.device_put(state, replicated(mesh))
step = jax.jit(functools.partial(train_step, model=model, tx=tx, config=frozen))
rng = np.random.default_rng(0)
for _ in range(2):
  batch = {
    'frames': rng.normal(size=(8, 90, 20)).astype(np.float16),
    'num_frames': np.full(8, 90, np.int32),
    'label': np.arange(8, dtype=np.int32),
    'weight': np.ones(8, np.float32),
  }
  placed = shard_batch(batch, mesh)
  state, sums = step(state, placed, jax.random.key(0))
assert len(placed['frames'].sharding.device_set) == jax.device_count()
assert step._cache_size() == 1
leaves = [float(np.abs(x).sum()) for x in jax.tree.leaves(state.params)]
print(json.dumps([jax.device_count(), sums.compute()['loss'], leaves]))
"""


def _on_devices(count):
  done = subprocess.run(
    [sys.executable, '-c', _TWO_DEVICES],
    env={**os.environ, 'JAX_NUM_CPU_DEVICES': str(count)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_compute_what_one_computes():
  one, two = _on_devices(1), _on_devices(2)
  assert (one[0], two[0]) == (1, 2)
  assert two[1] == pytest.approx(one[1], rel=1e-4)
  np.testing.assert_allclose(two[2], one[2], rtol=1e-3)
