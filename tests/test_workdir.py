import json

import pytest

from mgc_jax.config.schema import base_config
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training.workdir import (
  CONFIG_FILE,
  check_workdir,
  locked_workdir,
  resolve_workdir,
)


def _write(workdir, config):
  (workdir / CONFIG_FILE).write_text(json.dumps(config.to_dict()))


def test_default_workdir_is_named_by_config_and_settings():
  config = base_config()
  names = [resolve_workdir(None, config, 'configs/crnn.py', 'train').name]
  config.seed = 1
  names += [resolve_workdir(None, config, 'configs/crnn.py', 'train').name]
  assert names[0] != names[1]
  assert all(name.startswith('crnn-') for name in names)


def test_evaluation_needs_a_workdir():
  with pytest.raises(ConfigError, match='--workdir: not set'):
    resolve_workdir(None, base_config(), 'configs/crnn.py', 'evaluate')


def test_same_settings_continue_and_others_are_reported(tmp_path):
  config = base_config()
  check_workdir(config, tmp_path / 'new')
  _write(tmp_path, config)
  config.data.num_workers = 3  # changes no result
  config.model.num_genres = 4  # filled from the data
  check_workdir(config, tmp_path)
  config.train.learning_rate = 1.0
  with pytest.raises(ConfigError, match='config.train.learning_rate=1.0: the'):
    check_workdir(config, tmp_path)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({}, '=40: the run in .* has 20, and its learning rate depends'),
    ({'schedule': 'constant'}, None),
    ({'schedule': 'constant', 'warmup_epochs': 21.0}, 'learning rate depends'),
    ({'schedule': 'constant', 'num_epochs': 10}, '=10: the run in .* has 20; '),
    ({'schedule': 'constant', 'seed': 1}, 'config.seed=1: the run'),
  ],
  ids=str,
)
def test_more_epochs_need_a_constant_learning_rate(changes, message, tmp_path):
  config = base_config()
  config.train.num_epochs = 20
  seed = changes.pop('seed', 0)
  config.train.update({x: y for x, y in changes.items() if x != 'num_epochs'})
  _write(tmp_path, config)
  config.seed = seed
  config.train.num_epochs = changes.get('num_epochs', 40)
  if message is None:
    check_workdir(config, tmp_path)
    return
  with pytest.raises(ConfigError, match=message):
    check_workdir(config, tmp_path)


def test_a_run_of_another_version_is_reported(tmp_path):
  config = base_config()
  with config.unlocked():
    config.train.momentum = 0.9
  _write(tmp_path, config)
  message = 'started by another version.*config.train.momentum.*--workdir'
  with pytest.raises(ConfigError, match=message):
    check_workdir(base_config(), tmp_path)


@pytest.mark.parametrize('text', ['{', '[]', '3'])
def test_damaged_settings_are_reported(tmp_path, text):
  (tmp_path / CONFIG_FILE).write_text(text)
  with pytest.raises((DataError, ConfigError), match='config'):
    check_workdir(base_config(), tmp_path)


def test_a_file_in_place_of_the_folder_is_reported(tmp_path):
  (tmp_path / 'x').write_text('')
  with pytest.raises(DataError, match='cannot be used'):
    with locked_workdir(tmp_path / 'x'):
      pass


def test_a_folder_in_use_is_rejected_and_free_again_afterwards(tmp_path):
  with locked_workdir(tmp_path / 'run') as writer:
    assert writer.is_active and writer.workdir == tmp_path / 'run'
    with pytest.raises(DataError, match='run: another process is using'):
      with locked_workdir(tmp_path / 'run'):
        pass
  with locked_workdir(tmp_path / 'run'):
    pass
