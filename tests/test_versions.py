"""Files that an older version of this package wrote are read as before."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np
import pytest

from mgc_jax.config import versions
from mgc_jax.config.recipes import encoder_config
from mgc_jax.config.schema import ENCODERS, Config, base_config
from mgc_jax.datasets.records import source_fingerprint
from mgc_jax.datasets.track import Track
from mgc_jax.experiments.cross_validation import set_temperature
from mgc_jax.features import encoder as encoder_files
from mgc_jax.inference.model_metadata import metadata_json, parse
from mgc_jax.models import bundle as bundles
from mgc_jax.models import create_model
from mgc_jax.system.errors import DataError
from mgc_jax.training.workdir import (
  CONFIG_FILE,
  check_workdir,
  read_settings,
)
from tests import small_models

OLD = pathlib.Path(__file__).parent / 'old_bundles'
NAMES = ('cnn', 'lstm', 'crnn')


@pytest.mark.parametrize('name', NAMES)
def test_an_old_bundle_gives_the_same_logits(name):
  stored = json.loads((OLD / name / bundles.JSON_FILE).read_text())
  assert stored['format_version'] == 2
  bundle = bundles.load(OLD / name)
  with np.load(OLD / f'{name}.npz') as arrays:
    model = create_model(bundle.config)
    logits = small_models.apply(model, bundle.variables, arrays['windows'])
    np.testing.assert_allclose(logits, arrays['logits'], atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_an_old_bundle_keeps_its_digest(name):
  with np.load(OLD / f'{name}.npz') as arrays:
    wanted = str(arrays['digest'])
  assert json.loads(metadata_json(bundles.load(OLD / name)))['digest'] == wanted


def test_an_old_bundle_is_written_in_the_current_format(tmp_path):
  bundle = bundles.load(OLD / 'lstm')
  assert bundle.config.model.lstm.stack_frames == 2
  assert bundle.config.model.lstm.deltas
  bundles.save(bundle, tmp_path)
  stored = json.loads((tmp_path / bundles.JSON_FILE).read_text())
  assert stored['format_version'] == versions.FORMAT_VERSION
  assert stored['model']['lstm']['stack_frames'] == 2
  assert 'frames_per_step' not in stored['model']['lstm']
  assert bundles.load(tmp_path).config == bundle.config


def test_the_description_in_an_old_export_is_read():
  about = parse((OLD / 'exported.json').read_text())
  assert about.config.features.num_bands == 12
  assert about.genres == ('blues', 'jazz', 'rock')


def test_a_run_with_old_settings_can_be_resumed(tmp_path):
  text = (OLD / CONFIG_FILE).read_text()
  (tmp_path / CONFIG_FILE).write_text(text)
  merged = base_config()
  merged.update(read_settings(tmp_path / CONFIG_FILE))
  config = Config.from_dict(merged)
  assert not config.train.precise_batch_norm
  check_workdir(config, tmp_path)
  present = {'format_version': versions.FORMAT_VERSION, **config.to_dict()}
  (tmp_path / CONFIG_FILE).write_text(json.dumps(present))
  check_workdir(config, tmp_path)


def test_old_names_are_in_no_new_file():
  names = versions.downgrade(Config().to_dict())['model']['cnn']
  assert {'fold_frames', 'fold_bands'} <= names.keys()
  assert versions.upgrade(versions.downgrade(Config().to_dict())) == (
    Config().to_dict()
  )
  current = {'format_version': 3, 'model': {'cnn': {'fold_frames': 2}}}
  assert versions.upgrade(current) == current  # rejected later, by its name


def test_records_of_older_versions_keep_their_fingerprint():
  """These settings are those that the fields of version 2 expressed."""
  config = Config()
  prefix = source_fingerprint([], config.data, config.features)
  settings = {
    **json.loads((OLD / CONFIG_FILE).read_text())['features'],
    **{k: v for k, v in config.features.to_dict().items() if k != 'extractor'},
    'min_duration_s': config.data.min_duration_s,
    'on_damage': config.data.on_damage,
  }
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  assert prefix == f'{config.data.source}-{digest.hexdigest()[:16]}'
  tags = Config.from_dict(encoder_config('musicnn_tags'))
  features = dataclasses.replace(tags.features, extractor='log_mel')
  assert source_fingerprint([], tags.data, tags.features) != (
    source_fingerprint([], tags.data, features)
  )


@pytest.mark.parametrize('extractor', ENCODERS)
def test_records_depend_on_the_weights_of_their_encoder_only(
  extractor, tmp_path, monkeypatch
):
  data = Config().data
  encoder = Config.from_dict(encoder_config(extractor)).features
  cases = [
    ([Track('a', path, 'jazz')], features)
    for path in ('a.wav', 'synthetic://jazz', 'a.npy')
    for features in (encoder, Config().features)
  ]
  before = [source_fingerprint(tracks, data, f) for tracks, f in cases]
  weights = tmp_path / encoder_files.WEIGHTS_FILE
  weights.write_bytes(b'others')
  monkeypatch.setattr(encoder_files, 'FOLDER', tmp_path)
  after = [source_fingerprint(tracks, data, f) for tracks, f in cases]
  changed = [a != b for a, b in zip(after, before, strict=True)]
  assert changed == [True, False, True, False, False, False]
  weights.unlink()
  with pytest.raises(DataError, match='weights.safetensors: cannot be read'):
    source_fingerprint(cases[0][0], data, encoder)


def test_models_of_old_and_new_format_can_be_compared(tmp_path):
  bundle = bundles.load(OLD / 'cnn')
  for folder in (tmp_path / 'bundle', tmp_path / 'whole'):
    bundles.save(bundle, folder)
  set_temperature(tmp_path / 'whole', tmp_path, 2.0)
  assert bundles.load(tmp_path / 'whole').temperature == 2.0
