import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import Config, validate
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import make_splits
from mgc_jax.features import musicnn_encoder
from mgc_jax.features.frames import frames_of
from mgc_jax.models import create_model, embed_windows
from mgc_jax.models.musicnn import PRUNED_FRONT_FILTERS
from mgc_jax.models.windows import grid_windows
from mgc_jax.system.errors import ConfigError
from mgc_jax.training import trainer
from mgc_jax.training.finetune import start_from_encoder
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.run_writer import RunWriter
from mgc_jax.training.step import create_state, train_step
from tests.commands import run_command
from tests.conftest import tone, write_tone
from tests.processes import ROOT

FILE = f'{ROOT}/configs/finetuned_encoder.py'
F = 96


@pytest.fixture(scope='module')
def config():
  found = load_config(FILE, [])
  found.windows.hop_frames = 61  # as the encoder cuts its windows
  found.model.num_genres = 3
  return Config.from_dict(found)


@functools.cache
def _setup(config):
  """Returns the model, its optimiser, and a state with pretrained weights."""
  model, tx = create_model(config), create_optimizer(config.train, 10)
  initial = create_state(model, tx, config, np.ones(F, 'f'), np.ones(F, 'f'))
  return model, tx, start_from_encoder(initial, config)


def test_it_starts_with_the_features_of_the_encoder(config):
  samples = np.concatenate([tone(4.0, 16000), 0.1 * tone(5.0, 16000)])[:, 0]
  encoder = musicnn_encoder.load()
  assert encoder.model.front_filters == PRUNED_FRONT_FILTERS
  wanted, _ = encoder.encode(samples)
  frames = frames_of(samples, config.features)[None]
  model, _, state = _setup(config)
  windows, mask = grid_windows(
    frames,
    np.array([frames.shape[1]]),
    state.band_mean,
    state.band_std,
    config.windows,
  )
  embed = jax.jit(functools.partial(embed_windows, model))
  logits, found = embed(state.variables(), windows)
  assert mask.all() and logits.shape == (1, windows.shape[1], 3)
  # Frames are f16 here, and the last window ends with the excerpt.
  found, wanted = found[0, : len(wanted) - 1], wanted[:-1]
  assert wanted.std(axis=0).max() > 0.1
  np.testing.assert_allclose(found, wanted, atol=0.02)


def _batch():
  rng = np.random.default_rng(0)
  frames = rng.uniform(size=(2, 374, F)).astype(np.float16)
  return {
    'frames': frames,
    'num_frames': np.full(2, 374, np.int32),
    'label': np.array([0, 2], np.int32),
    'weight': np.ones(2, np.float32),
  }


@pytest.mark.parametrize(
  'is_frozen', [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_a_step_changes_the_encoder_unless_it_is_frozen(is_frozen, config):
  train = dataclasses.replace(
    config.train,
    freeze_backbone=is_frozen,
    init_from='x' if is_frozen else None,
    warmup_epochs=0.0,
    weight_decay=0.0,
  )
  config = dataclasses.replace(config, train=train)
  model, tx, state = _setup(config)
  step = functools.partial(train_step, model=model, tx=tx, config=config)
  after, _ = jax.jit(step)(state, _batch(), jax.random.key(0))

  def has_changed(name, collection='params'):
    before, now = getattr(state, collection)[name], getattr(after, collection)
    pairs = zip(*map(jax.tree.leaves, (before, now[name])), strict=True)
    return any(not np.array_equal(a, b) for a, b in pairs)

  assert has_changed('Head_0')
  for name in ('front_0', 'front_4', 'mid_2', 'features'):
    assert has_changed(name) != is_frozen, name
  assert has_changed('pool_norm', 'batch_stats') != is_frozen


def test_other_networks_do_not_start_with_its_weights():
  state = object()
  assert start_from_encoder(state, Config()) is state


@pytest.mark.parametrize(
  ('path', 'value', 'message'),
  [
    ('features.hop_samples', 512, 'features.hop_samples=512: must be 256 with'),
    ('features.scaling', 'range', 'scaling=range: must be compressed with'),
    ('windows.standardise', 'bands', 'standardise=bands: must be none with'),
    ('model.num_members', 2, 'model.num_members=2: must be 1 with'),
  ],
)
def test_settings_that_do_not_suit_it_are_rejected(path, value, message):
  config = load_config(FILE, [])
  config.update_from_flattened_dict({path: value})
  with pytest.raises(ConfigError, match=message):
    validate(config)


def test_values_are_used_as_they_are_without_standardisation():
  windows = dataclasses.replace(
    Config().windows, standardise='none', num_frames=4, hop_frames=4
  )
  frames = np.arange(24, dtype=np.float32).reshape(1, 8, 3)
  found, _ = grid_windows(
    frames, np.array([7]), jnp.full(3, 9.0), jnp.full(3, 5.0), windows
  )
  np.testing.assert_array_equal(found[0, 0], frames[0, :4])
  np.testing.assert_array_equal(found[0, 1], frames[0, 3:7])


def test_compressed_frames_are_the_logarithm_of_one_and_the_power():
  features = dataclasses.replace(Config().features, scaling='compressed')
  loud = tone(1.0, 22050)[:, 0]
  assert not frames_of(np.zeros_like(loud), features).any()
  powers = [
    (10 ** frames_of(x, features).astype(np.float64) - 1)[5:-5].sum()
    for x in (loud, loud / 2)
  ]
  assert powers[0] / powers[1] == pytest.approx(4.0, rel=0.02)


def test_a_run_starts_with_its_weights(tmp_path):
  sizes = {'num_artists': 3, 'tracks_per_artist': 1, 'duration_s': 4.0}
  found = load_config(FILE, [])
  found.data.synthetic.update(sizes)
  found.data.num_workers = 1
  prepared, config = prepare(found), Config.from_dict(found)
  splits = make_splits(prepared, config)
  run = trainer.create_run(
    config, splits, Reader(prepared.index), RunWriter(tmp_path)
  )
  state, _ = trainer.restore_or_init(run)
  wanted = musicnn_encoder.load().variables['params']['mid_0']['kernel']
  np.testing.assert_array_equal(state.params['mid_0']['kernel'], wanted)


@pytest.mark.slow
def test_it_is_trained_and_predicts_a_song(tmp_path):
  for genre, frequency_hz in (('low', 200.0), ('high', 900.0)):
    for i in range(4):
      path = tmp_path / 'music' / genre / f'{i}.wav'
      write_tone(path, seconds=4.0, frequency_hz=frequency_hz + i)
  flags = {
    'data.source': 'folder',
    'data.root': tmp_path / 'music',
    'data.protocol': 'track',
    'data.valid_fraction': 0.25,
    'data.test_fraction': 0.25,
    'data.num_workers': 1,
    'windows.num_windows': 1,
    'train.num_epochs': 1,
    'train.batch_size': 2,
    'eval.batch_size': 2,
    'eval.num_bootstrap': 100,
  }
  words = [f'--config.{name}={value}' for name, value in flags.items()]
  run = tmp_path / 'run'
  done = run_command(
    'mgc_jax.main', f'--config={FILE}', f'--workdir={run}', *words
  )
  assert done.returncode == 0, done.stderr
  done = run_command('mgc_jax', 'predict', path, f'--model={run}')
  assert done.returncode == 0, done.stderr
  assert f'{path}: ' in done.stdout
