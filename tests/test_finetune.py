import dataclasses
import functools

import jax
import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.models import HEAD, create_model
from mgc_jax.models import bundle as bundles
from mgc_jax.models.bundle import Bundle
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training.finetune import start_from_bundle
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.step import create_state, train_step

GENRES = tuple('abcdefghij')
OWN = ('mine', 'yours')


def _state(config, seed):
  config.seed = seed
  frozen = Config.from_dict(config)
  model, train = frozen.model, frozen.train
  # Where it starts from does not matter to the weights that it replaces.
  plain = dataclasses.replace(train, init_from=None, freeze_backbone=False)
  state = _initial_state(model, frozen.windows, plain, seed)
  return state, create_model(frozen), create_optimizer(train, 3), frozen


@functools.cache
def _initial_state(model, windows, train, seed):
  """One for all tests that use the same model; nothing changes it."""
  config = dataclasses.replace(
    Config(), model=model, windows=windows, train=train, seed=seed
  )
  bands = np.full(20, float(seed), np.float32), np.ones(20, np.float32)
  tx = create_optimizer(train, 3)
  return create_state(create_model(config), tx, config, *bands)


@pytest.fixture(
  params=['cnn', pytest.param('lstm', marks=pytest.mark.slow), 'crnn']
)
def config(request, tiny_config, tmp_path):
  """A configuration that starts from a bundle of ten genres."""
  tiny_config.model.name = request.param
  cnn = tiny_config.model.cnn
  cnn.filters, cnn.pool_frames, cnn.pool_bands = (4,), (4,), (4,)
  cnn.dropout = (0.1,)
  state, _, _, frozen = _state(tiny_config, 5)
  variables = jax.device_get(state.variables())
  bands = np.array(state.band_mean), np.array(state.band_std)
  bundle = Bundle(frozen, GENRES, variables, *bands)
  bundles.save(bundle, tmp_path / 'bundle')
  tiny_config.train.init_from = str(tmp_path / 'bundle')
  return tiny_config


def _same(one, two):
  leaves = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
  return all(np.array_equal(a, b) for a, b in leaves)


def test_same_genres_keep_every_weight(config):
  started, *_ = _state(config.copy_and_resolve_references(), 5)
  fresh, _, _, frozen = _state(config, 1)
  assert not _same(fresh.params, started.params)
  found = start_from_bundle(fresh, frozen, GENRES)
  assert _same(found.params, started.params)
  assert _same(found.batch_stats, started.batch_stats)
  np.testing.assert_array_equal(found.band_mean, np.full(20, 5.0))


def test_other_genres_have_a_new_head_on_the_same_body(config):
  started, *_ = _state(config.copy_and_resolve_references(), 5)
  config.model.num_genres = 2
  config.train.ema_decay = 0.9
  fresh, _, _, frozen = _state(config, 1)
  found = start_from_bundle(fresh, frozen, OWN)
  assert _same(found.params[HEAD], fresh.params[HEAD])
  body = {k: v for k, v in found.params.items() if k != HEAD}
  assert _same(body, {k: v for k, v in started.params.items() if k != HEAD})
  assert _same(found.ema_params, found.params)


def _batch():
  rng = np.random.default_rng(0)
  return {
    'frames': rng.normal(size=(8, 90, 20)).astype(np.float16),
    'num_frames': np.full(8, 90, np.int32),
    'label': np.arange(8, dtype=np.int32) % 2,
    'weight': np.ones(8, np.float32),
  }


@pytest.mark.parametrize('freeze', [True, False])
def test_a_frozen_backbone_stays_and_its_head_learns(config, freeze):
  config.model.num_genres = 2
  config.train.freeze_backbone = freeze
  config.augment.gain_db = 0.0
  config.train.warmup_epochs = 0.0
  config.train.weight_decay = 0.1
  state, model, tx, frozen = _state(config, 1)
  state = start_from_bundle(state, frozen, OWN)
  before = jax.device_get((state.params, state.batch_stats))
  state, _ = jax.jit(
    lambda s, b, k: train_step(s, b, k, model=model, tx=tx, config=frozen)
  )(state, _batch(), jax.random.key(0))
  params, batch_stats = before
  for name, part in params.items():
    moved = not _same(part, state.params[name])
    assert moved == (name == HEAD or not freeze), name
  if jax.tree.leaves(batch_stats):
    assert _same(batch_stats, state.batch_stats) == freeze


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    (
      'features.hop_samples',
      128,
      'hop_samples=128: the bundle .* has 256',
    ),
    ('windows.standardise', 'excerpt', 'standardise=excerpt: the bundle'),
    ('model.name', None, 'config.model.name='),
  ],
)
def test_settings_that_differ_from_the_bundle_are_reported(
  config, field, value, message
):
  if field == 'model.name':
    value = 'lstm' if config.model.name == 'cnn' else 'cnn'
  config.update_from_flattened_dict({field: value})
  state, _, _, frozen = _state(config, 1)
  with pytest.raises(ConfigError, match=message):
    start_from_bundle(state, frozen, GENRES)


def test_only_fields_that_the_network_uses_are_compared(config):
  name = config.model.name
  fresh, _, _, frozen = _state(config, 1)
  for section, field, users in (
    ('lstm', 'stateful', ('lstm', 'crnn')),
    ('cnn', 'activation', ('cnn', 'crnn')),
  ):
    value = {'stateful': False, 'activation': 'elu'}[field]
    part = dataclasses.replace(getattr(frozen.model, section), **{field: value})
    model = dataclasses.replace(frozen.model, **{section: part})
    changed = dataclasses.replace(frozen, model=model)
    if name in users:
      with pytest.raises(ConfigError, match=f'{section}.{field}='):
        start_from_bundle(fresh, changed, GENRES)
    else:
      assert start_from_bundle(fresh, changed, GENRES) is not fresh


def test_a_window_that_changes_shapes_is_reported(tiny_config, tmp_path):
  tiny_config.model.cnn.readout = 'flatten'
  tiny_config.model.dense.sizes = ()
  tiny_config.model.dense.dropout = ()
  tiny_config.model.name = 'crnn'
  state, _, _, frozen = _state(tiny_config, 5)
  bundle = Bundle(
    frozen,
    GENRES,
    jax.device_get(state.variables()),
    np.zeros(20, 'f'),
    np.ones(20, 'f'),
  )
  bundles.save(bundle, tmp_path)
  tiny_config.train.init_from = str(tmp_path)
  tiny_config.windows.num_frames = 24
  fresh, _, _, frozen = _state(tiny_config, 1)
  with pytest.raises(ConfigError, match='WindowLstm_0/.* has the shape'):
    start_from_bundle(fresh, frozen, GENRES)


def test_other_dense_layers_have_a_new_head(config):
  config.model.dense.sizes = (9,)
  config.model.dense.dropout = (0.5,)
  fresh, _, _, frozen = _state(config, 1)
  found = start_from_bundle(fresh, frozen, GENRES)
  assert _same(found.params[HEAD], fresh.params[HEAD])


def test_missing_bundle_is_reported(config):
  config.train.init_from = '/none'
  state, _, _, frozen = _state(config, 1)
  with pytest.raises(DataError, match='/none/bundle.json: no such file'):
    start_from_bundle(state, frozen, GENRES)


def test_without_a_bundle_nothing_changes(tiny_config):
  state, _, _, frozen = _state(tiny_config, 1)
  assert start_from_bundle(state, frozen, GENRES) is state
