import dataclasses
import functools
import importlib.util
import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from mgc_jax.config.fields import settings
from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import (
  Config,
  base_config,
  describe,
  validate,
)
from mgc_jax.models import create_model
from mgc_jax.system.errors import ConfigError

ROOT = pathlib.Path(__file__).parent.parent
PATHS = sorted((ROOT / 'configs').glob('**/*.py'))
NAMES = [str(path.relative_to(ROOT)) for path in PATHS]


def _load(path):
  spec = importlib.util.spec_from_file_location('loaded_config', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _num_params(config):
  config = Config.from_dict(config)
  shape = (1, 2, config.windows.num_frames, config.features.num_bands)
  init = functools.partial(create_model(config).init, jax.random.key(0))
  params = jax.eval_shape(init, jnp.zeros(shape))['params']
  return sum(x.size for x in jax.tree.leaves(params))


@pytest.mark.parametrize('path', PATHS, ids=NAMES)
def test_every_config_builds_validates_and_initialises(path):
  module = _load(path)
  config = module.get_config()
  assert _num_params(config) > 1000
  command = f'python -m mgc_jax.main --config={path.relative_to(ROOT)}'
  assert command in module.__doc__


@pytest.mark.parametrize(
  ('name', 'num_params'),
  [('cnn', 347_834), ('lstm', 2_676_554), ('crnn', 818_874)],
)
def test_baseline_networks_have_the_published_parameters(name, num_params):
  config = _load(ROOT / 'configs' / 'baseline' / f'{name}.py').get_config()
  assert (config.windows.num_frames, config.features.num_bands) == (258, 128)
  assert _num_params(config) == num_params


def test_cnn_stays_under_370000_parameters():
  config = _load(ROOT / 'configs' / 'cnn.py').get_config()
  assert _num_params(config) < 370_000


@pytest.mark.parametrize(
  ('misspell', 'message'),
  [
    (lambda c: c.train.update(learning_rte=5.0), 'train.learning_rte: no such'),
    (lambda c: c.update(trian=1), 'config.trian: no such field'),
    (lambda c: delattr(c.data, 'manifest'), 'config.data.manifest: missing'),
    (lambda c: delattr(c, 'train'), 'config.train: missing'),
  ],
)
def test_a_misspelt_field_of_a_config_file_is_reported(misspell, message):
  config = base_config()
  misspell(config)
  with pytest.raises(ConfigError, match=message):
    validate(config)


def test_every_number_and_choice_has_a_rule():
  free = {
    'data.source',  # the registry of sources checks it
    'data.root',
    'data.gtzan_root',
    'data.fma_root',
    'data.manifest',
    'data.prepared_dir',
    'data.genres',
    'data.eval_split',  # checked with the splits
    'data.test_source',  # checked with the splits
    'train.init_from',  # a folder
  }
  for path, found in settings(Config):
    has_rule = found.metadata['setting'].rule is not None
    assert has_rule or path in free or found.type is bool, path
    assert not (has_rule and path in free), path
  assert free <= {path for path, _ in settings(Config)}


def test_a_dict_of_json_gives_the_same_configuration():
  config = base_config()
  config.model.cnn.filters = [8, 16, 24, 32, 40]
  config.data.genres = ('jazz', 'rock')
  typed = Config.from_dict(config)
  assert typed.model.cnn.filters == (8, 16, 24, 32, 40)
  assert Config.from_dict(json.loads(json.dumps(typed.to_dict()))) == typed
  assert {typed: 1}[Config.from_dict(config)] == 1  # it can be hashed
  with pytest.raises(dataclasses.FrozenInstanceError):
    typed.seed = 1


def test_defaults_are_those_of_the_dataclasses():
  assert Config.from_dict(base_config()) == Config()


def test_an_integer_becomes_a_float_where_a_float_is_expected():
  found = Config().to_dict()
  found['features']['excerpt_s'], found['model']['dense']['dropout'] = 20, [0]
  config = Config.from_dict(found)
  assert type(config.features.excerpt_s) is float
  assert type(config.model.dense.dropout[0]) is float


@pytest.mark.parametrize(
  ('path', 'value', 'message'),
  [
    ('seed', True, 'config.seed=True: must be at least 0'),
    ('seed', 'one', 'config.seed=one: must be at least 0'),
    ('train.num_epochs', 1.5, 'config.train.num_epochs=1.5: must be'),
    ('train.class_weights', 1, 'class_weights=1: must be True or False'),
    ('data.root', 7, 'config.data.root=7: must be text'),
    ('data.genres', 'jazz', 'config.data.genres=jazz: must be a list of names'),
    ('data.genres', [1], 'config.data.genres=.1.: must be a list of names'),
    ('model', 3, 'config.model: must be a section of fields'),
    ('augment.gain_db', 10**400, 'gain_db=1000.*: must be at least 0'),
  ],
)
def test_a_value_of_another_type_is_rejected(path, value, message):
  found = Config().to_dict()
  *sections, name = path.split('.')
  section = found
  for step in sections:
    section = section[step]
  section[name] = value
  with pytest.raises(ConfigError, match=message):
    Config.from_dict(found)


def test_description_has_every_field_with_value_unit_and_meaning():
  config = base_config()
  config.train.num_epochs = 77
  lines = describe(config).splitlines()
  names = [line.split()[0] for line in lines if not line.startswith(' ')]
  assert names == [path for path, _ in settings(Config)]
  (line,) = [x for x in lines if x.startswith('train.num_epochs ')]
  assert line.split()[1:4] == ['77', 'epochs', 'Length']
  assert line.index('Length') == lines[0].index('Random seed')  # aligned
  assert describe() == describe(Config())


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    ({'train.batch_size': 0}, 'config.train.batch_size=0: must be at least 1'),
    ({'train.learning_rate': -1.0}, 'config.train.learning_rate=-1.0: must be'),
    ({'train.learning_rate': float('nan')}, 'learning_rate=nan'),
    ({'seed': -1}, 'config.seed=-1'),
    ({'model.name': 'svm'}, 'config.model.name=svm: must be one of cnn, lstm'),
    ({'data.protocol': 'random'}, 'config.data.protocol=random: must be one'),
    ({'data.eval_split': 'valid,dev'}, 'config.data.eval_split=valid,dev'),
    ({'data.num_folds': 1}, 'config.data.num_folds=1'),
    (
      {'data.num_folds': 3, 'data.fold': 3},
      'config.data.fold=3: must be under',
    ),
    (
      {'data.num_folds': 3, 'data.protocol': 'given'},
      'config.data.num_folds=3: given splits have no folds',
    ),
    (
      {'data.valid_fraction': 0.5, 'data.test_fraction': 0.5},
      'config.data.valid_fraction=0.5 .* nothing is left',
    ),
    (
      {'data.valid_fraction': 0.0, 'data.protocol': 'artist'},
      'config.data.valid_fraction=0: .*select=last',
    ),
    ({'windows.num_frames': 9999}, 'windows.num_frames=9999: longer than'),
    ({'features.max_frequency_hz': 2e4}, 'max_frequency_hz=20000.0: over half'),
    ({'features.min_frequency_hz': 11025.0}, 'min_frequency_hz=11025.0: not'),
    ({'model.cnn.filters': (8, 8)}, 'config.model.cnn.pool_frames=.*needs one'),
    ({'model.cnn.filters': (8, 'x', 1, 1, 1)}, 'config.model.cnn.filters='),
    ({'model.cnn.filters': (8, 1.5, 1, 1, 1)}, 'config.model.cnn.filters='),
    ({'model.cnn.filters': (8, True, 1, 1, 1)}, 'config.model.cnn.filters='),
    ({'model.cnn.filters': ()}, 'config.model.cnn.filters=.*one block'),
    ({'train.learning_rate': float('inf')}, 'learning_rate=inf'),
    ({'augment.mixup_alpha': float('inf')}, 'mixup_alpha=inf'),
    ({'data.eval_split': 'valid,valid'}, 'config.data.eval_split=valid,valid'),
    (
      {'model.name': 'lstm', 'model.lstm.stack_frames': 500},
      'config.model.lstm.stack_frames=500: more than',
    ),
    ({'model.dense.sizes': (8, 8)}, 'config.model.dense.dropout=.*needs one'),
    ({'model.cnn.readout': 'steps'}, 'config.model.cnn.readout=steps'),
    ({'model.cnn.readout': 'step_means'}, 'cnn.readout=step_means: for a crnn'),
    ({'model.dense.dropout': (1.0,)}, 'config.model.dense.dropout='),
    (
      {'train.own_genres_only': True, 'augment.mixup_alpha': 0.1},
      'config.train.own_genres_only=True: mixup mixes',
    ),
  ],
)
def test_wrong_field_is_reported(overrides, message):
  config = base_config()
  config.update_from_flattened_dict(overrides)
  with pytest.raises(ConfigError, match=message):
    validate(config)


def test_missing_field_is_reported():
  config = base_config()
  del config.train.ema_decay
  with pytest.raises(ConfigError, match='config.train.ema_decay: missing'):
    validate(config)


def test_patience_is_a_multiple_of_the_evaluation_interval():
  config = base_config()
  config.train.evaluate_every_epochs, config.train.patience_epochs = 5, 2
  with pytest.raises(ConfigError, match='patience_epochs=2: must be a'):
    validate(config)
  config.train.patience_epochs = 10
  validate(config)


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    ('train.num_epochs=many', 'num_epochs=many: must be a whole number'),
    ('train.num_epochs=1.5', 'num_epochs=1.5: must be a whole number'),
    ('train.learning_rate=fast', 'learning_rate=fast: must be a number'),
    ('train.freeze_backbone=maybe', 'backbone=maybe: must be true or false'),
    ('model.cnn.filters=(1,2', 'filters=(1,2: must be a list such as (8, 16)'),
  ],
)
def test_an_override_of_another_type_is_explained(override, message):
  with pytest.raises(ConfigError) as raised:
    load_config(None, (f'--config.{override}',))
  assert str(raised.value).endswith(message)
