import flax.linen as nn
import jax
import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import make_splits
from mgc_jax.distributed.mesh import data_mesh
from mgc_jax.models import create_model
from mgc_jax.models.windows import grid_windows
from mgc_jax.training.batch_norm import PreciseBatchNorm
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.step import create_state
from tests.conftest import tiny


@pytest.fixture(scope='module')
def made():
  """A configuration with all kinds of dropout, records, and a state."""
  config = tiny()
  config.model.cnn.dropout = (0.5,) * len(config.model.cnn.filters)
  config.model.cnn.norm = 'batch'
  prepared = prepare(config)
  examples = make_splits(prepared, config).examples['train']
  mean, std = prepared.index.band_stats(examples.rows)
  tx = create_optimizer(config.train, 1)
  state = create_state(create_model(config), tx, config, mean, std)
  return config, Reader(prepared.index), examples, state


@pytest.fixture
def parts(made):
  """The same, with a configuration of its own for each test."""
  config, *rest = made
  return config.copy_and_resolve_references(), *rest


def _precise(config, reader, examples):
  typed = Config.from_dict(config)
  return PreciseBatchNorm(typed, reader, examples, data_mesh())


def test_statistics_are_those_of_the_evaluated_windows(parts):
  config, reader, examples, state = parts
  config.train.batch_size = len(examples)  # one batch: its own statistics
  found = _precise(config, reader, examples)(state)
  outputs = {}

  def keep_maps(next_fun, args, kwargs, context):
    result = next_fun(*args, **kwargs)
    if type(context.module).__name__ == 'Conv':
      outputs.setdefault(context.module.path, []).append(result)
    return result

  (batch,) = reader.batches(
    examples, np.arange(len(examples)), config.train.batch_size
  )
  inputs, _ = grid_windows(
    batch['frames'],
    batch['num_frames'],
    state.band_mean,
    state.band_std,
    config.windows,
  )
  with nn.intercept_methods(keep_maps):
    create_model(config).apply(state.variables(), inputs)
  maps = np.concatenate(next(iter(outputs.values())), axis=-1)
  first = found['batch_stats']['ConvStack_0']['ConvBlock_0']['BatchNorm_0']
  np.testing.assert_allclose(first['mean'], maps.mean((1, 2, 3)), atol=1e-4)
  np.testing.assert_allclose(first['var'], maps.var((1, 2, 3)), rtol=1e-3)


def test_the_state_and_its_weights_do_not_change(parts):
  config, reader, examples, state = parts
  before = jax.device_get(state)
  found = _precise(config, reader, examples)(state)
  jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(state))
  assert found['params'] is state.variables()['params']


def test_statistics_are_deterministic(parts):
  config, reader, examples, state = parts
  precise = _precise(config, reader, examples)
  one, two = (jax.device_get(precise(state)) for _ in range(2))
  jax.tree.map(np.testing.assert_array_equal, one, two)


def test_recomputation_can_be_switched_off(parts):
  config, reader, examples, state = parts
  config.train.precise_batch_norm = False
  found = _precise(config, reader, examples)(state)
  assert found['batch_stats'] is state.batch_stats


class _LouderGenres:
  """A reader that makes the second half of the genres much louder."""

  def __init__(self, reader):
    self._reader = reader

  def batches(self, *args, **kwargs):
    for batch in self._reader.batches(*args, **kwargs):
      louder_db = np.where(batch['label'] < 5, 0, 60).astype(np.float16)
      yield {**batch, 'frames': batch['frames'] + louder_db[:, None, None]}


def test_batches_mix_genres(parts):
  """Several batches give nearly the statistics of one with all examples."""
  config, reader, examples, state = parts
  # Batches sorted by genre would miss the variance between genres.
  assert (np.diff(reader.index.label[examples.rows]) >= 0).all()

  def variances(batch_size):
    config.train.batch_size = batch_size
    found = _precise(config, _LouderGenres(reader), examples)(state)
    return found['batch_stats']['ConvStack_0']['ConvBlock_0']['BatchNorm_0'][
      'var'
    ]

  whole, parted = variances(len(examples)), variances(len(examples) // 2)
  np.testing.assert_allclose(parted, whole, rtol=0.1)


def test_a_frozen_backbone_keeps_its_statistics(parts):
  config, reader, examples, state = parts
  config.train.freeze_backbone = True
  config.train.init_from = 'bundle'  # not read here
  found = _precise(config, reader, examples)(state)
  assert found['batch_stats'] is state.batch_stats
