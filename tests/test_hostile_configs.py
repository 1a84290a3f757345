"""Invalid configurations, one line each: the error names the field."""

import pytest

from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import validate
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.splits import make_splits
from mgc_jax.system.errors import ConfigError
from tests.conftest import table
from tests.processes import ROOT

CONFIGS = [
  ('unknown field', ['--config.train.speed=9'], 'config: no field speed'),
  ('unknown section', ['--config.trian.num_epochs=9'], 'no field trian'),
  ('word for a number', ['--config.train.num_epochs=many'], 'num_epochs'),
  ('fraction for a number', ['--config.train.batch_size=2.5'], 'batch_size'),
  ('negative', ['--config.train.batch_size=-4'], 'batch_size=-4: must be'),
  ('zero', ['--config.features.hop_samples=0'], 'hop_samples=0: must be'),
  ('NaN', ['--config.train.learning_rate=nan'], 'learning_rate=nan: must be'),
  ('infinite', ['--config.features.excerpt_s=inf'], 'excerpt_s=inf: must be'),
  ('enormous', ['--config.features.fft_samples=10000000000'], 'fft_samples='),
  (
    'window longer than excerpt',
    ['--config.windows.num_frames=9999'],
    'num_frames=9999: longer than an excerpt',
  ),
  (
    'band over half the rate',
    ['--config.features.max_frequency_hz=99999.0'],
    'over half of config.features.sample_rate_hz',
  ),
  (
    'a fold of too many',
    ['--config.data.num_folds=5', '--config.data.fold=5'],
    'fold=5: must be under config.data.num_folds=5',
  ),
  (
    'nothing left to train on',
    ['--config.data.valid_fraction=0.5', '--config.data.test_fraction=0.5'],
    'nothing is left for training',
  ),
  (
    'parts that do not divide',
    ['--config.train.accumulate_steps=3'],
    'accumulate_steps=3: must divide config.train.batch_size',
  ),
  (
    'frozen at random',
    ['--config.train.freeze_backbone=True'],
    'set config.train.init_from',
  ),
  (
    'lists of different lengths',
    ['--config.model.cnn.filters=(8,)'],
    'needs one number for each of config.model.cnn.filters',
  ),
  ('a filter of words', ["--config.model.cnn.filters=('a','b')"], 'filters'),
]


@pytest.mark.parametrize(('overrides', 'message'), **table(CONFIGS))
def test_invalid_config_is_reported(overrides, message):
  with pytest.raises(ConfigError, match=message):
    validate(load_config(str(ROOT / 'configs' / 'smoke.py'), tuple(overrides)))


@pytest.mark.parametrize('field', ['train.batch_size', 'features.excerpt_s'])
def test_config_without_a_value_is_reported(field, tiny_config):
  tiny_config.update_from_flattened_dict({field: None})
  with pytest.raises(ConfigError, match=f'config.{field}=None: must be'):
    validate(tiny_config)


def test_more_folds_than_artists_are_reported(folder_config):
  folder_config.data.num_folds = 20
  with pytest.raises(ConfigError, match='=20: more than the 12 groups'):
    make_splits(prepare(folder_config), folder_config)
