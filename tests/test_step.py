import functools

import jax
import numpy as np
import optax
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.models import create_model
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.step import create_state, train_step
from mgc_jax.training.window_sums import NO_STEP, WindowSums

B, N, F, C = 8, 90, 20, 10


def _setup(config, seed=0):
  frozen = Config.from_dict(config)
  model = create_model(frozen)
  tx = create_optimizer(frozen.train, 10)
  mean, std = np.zeros(F, 'f'), np.ones(F, 'f')
  state = create_state(model, tx, frozen, mean, std)
  step = functools.partial(train_step, model=model, tx=tx, config=frozen)
  return state, jax.jit(step, donate_argnums=0), jax.random.key(seed)


def test_only_the_ratio_of_weights_matters(tiny_config):
  """The loss is a weighted mean, so a common factor changes nothing."""
  tiny_config.train.clip_norm = 0.0  # it would hide a larger gradient
  state, step, key = _setup(tiny_config)
  heavy = _batch()
  heavy['weight'] *= 3
  gradients = [
    optax.tree_utils.tree_get(step(state, batch, key)[0].opt_state, 'mu')
    for state, batch in ((state, _batch()), (_setup(tiny_config)[0], heavy))
  ]
  for one, two in zip(*map(jax.tree.leaves, gradients), strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-7)


def _augmented(config):
  config.augment.num_time_masks = 1
  config.augment.num_band_masks = 1
  config.augment.mixup_alpha = 0.2
  return config


def _batch(seed=0):
  rng = np.random.default_rng(seed)
  label = np.arange(B, dtype=np.int32) % C
  frames = rng.normal(size=(B, N, F)).astype(np.float16)
  frames += label[:, None, None] * np.linspace(-6, 6, F)
  return {
    'frames': frames.astype(np.float16),
    'num_frames': np.full(B, N, np.int32),
    'label': label,
    'weight': np.ones(B, np.float32),
  }


@pytest.mark.parametrize('name', ['cnn', 'lstm', 'crnn'])
def test_step_compiles_once(name, tiny_config):
  tiny_config.model.name = name
  tiny_config.train.ema_decay = 0.9
  state, step, key = _setup(_augmented(tiny_config))
  for i in range(3):
    state, _ = step(state, _batch(i), key)
  assert step._cache_size() == 1
  assert int(state.step) == 3


@pytest.mark.parametrize(
  ('name', 'dtype'),
  [('cnn', 'float32'), ('lstm', 'float32'), ('crnn', 'bfloat16')],
)
def test_repeated_steps_fit_a_batch(name, dtype, tiny_config):
  tiny_config.model.name, tiny_config.model.dtype = name, dtype
  tiny_config.train.schedule = 'constant'
  tiny_config.train.warmup_epochs = 0.0
  tiny_config.train.learning_rate = 1e-2
  tiny_config.augment.gain_db = 0.0
  state, step, key = _setup(tiny_config)
  losses = []
  for _ in range(60):
    state, sums = step(state, _batch(), key)
    losses.append(sums.compute()['loss'])
  assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])


def _norm(tree):
  return float(optax.tree_utils.tree_norm(tree))


def test_step_returns_the_norms_of_gradient_and_update(tiny_config):
  tiny_config.train.clip_norm = 0.0
  tiny_config.train.warmup_epochs = 0.0
  state, step, key = _setup(tiny_config)
  before = jax.device_get(state.params)
  state, sums = step(state, _batch(), key)
  # Adam's first moment is a tenth of the first gradient.
  gradient = optax.tree_utils.tree_get(state.opt_state, 'mu')
  found = sums.compute()
  assert found['grad_norm'] == pytest.approx(10 * _norm(gradient), rel=1e-4)
  update = jax.tree.map(lambda a, b: a - b, state.params, before)
  assert found['update_norm'] == pytest.approx(_norm(update), rel=1e-4)


@pytest.mark.parametrize('number', [None, 1, 3])
def test_sums_report_the_first_step_that_is_not_finite(number, tiny_config):
  state, step, key = _setup(tiny_config)
  total = WindowSums.of([])
  for i in range(1, 5):
    batch = _batch()
    if i == number:
      batch['weight'][2] = np.inf
    state, sums = step(state, batch, key)
    total = total.merge(sums)
  assert total.failed_step == (NO_STEP if number is None else number)
  assert total.num_steps == 4


def test_state_is_donated(tiny_config):
  state, step, key = _setup(tiny_config)
  new_state, _ = step(state, _batch(), key)
  assert all(x.is_deleted() for x in jax.tree.leaves(state.params))
  assert not any(x.is_deleted() for x in jax.tree.leaves(new_state))


def test_randomness_is_a_function_of_key_and_step(tiny_config):
  def loss(key_seed, num_steps):
    state, step, key = _setup(tiny_config, key_seed)
    for _ in range(num_steps):
      state, sums = step(state, _batch(), key)
    return sums.compute()['loss']

  assert loss(0, 2) == loss(0, 2)
  assert loss(0, 1) != loss(1, 1)


def test_each_step_has_its_own_randomness(tiny_config):
  """The same weights and batch at another step: other crops and masks."""

  def loss(number):
    state, step, key = _setup(_augmented(tiny_config))
    state = state.replace(step=state.step + number)
    return step(state, _batch(), key)[1].compute()['loss']

  assert loss(0) == loss(0)
  assert loss(0) != loss(5)


@pytest.mark.parametrize(
  ('name', 'off', 'on'),
  [
    ('crop', 'grid', 'scattered'),
    ('max_speed', 1.0, 1.2),
    ('max_shift_bands', 0, 3),
    ('gain_db', 0.0, 6.0),
    ('filter_db', 0.0, 6.0),
    ('num_time_masks', 0, 1),
    ('num_band_masks', 0, 1),
    ('mixup_alpha', 0.0, 0.2),
  ],
)
def test_each_augmentation_changes_the_loss(name, off, on, tiny_config):
  """Each is changed alone, for the same batch and key."""

  def loss(value):
    tiny_config.augment[name] = value
    state, step, key = _setup(tiny_config)
    return step(state, _batch(), key)[1].compute()['loss']

  tiny_config.augment.max_time_mask_frames = 8
  assert abs(loss(on) - loss(off)) > 1e-4


def test_window_and_excerpt_levels_agree_for_a_window_of_a_whole_excerpt(
  tiny_config,
):
  length = tiny_config.windows.num_frames

  def loss(standardise, num_frames):
    tiny_config.windows.standardise = standardise
    state, step, key = _setup(tiny_config)
    batch = _batch()
    batch['frames'] = batch['frames'][:, :num_frames]
    batch['num_frames'] = np.full(B, num_frames, np.int32)
    return step(state, batch, key)[1].compute()['loss']

  whole, part = ((loss('window', n), loss('excerpt', n)) for n in (length, N))
  assert whole[0] == pytest.approx(whole[1], rel=1e-4)
  assert abs(part[0] - part[1]) > 1e-4


def test_examples_of_weight_zero_do_not_change_the_update(tiny_config):
  tiny_config.model.cnn.norm = 'none'  # it would normalise by padding
  tiny_config.train.warmup_epochs = 0.0
  changed = _batch()
  changed['frames'][4:] = 9.0

  def update(batch):
    batch['weight'][4:] = 0.0
    state, step, key = _setup(tiny_config)
    return step(state, batch, key)[0].params

  for one, two in zip(
    *(jax.tree.leaves(update(b)) for b in (_batch(), changed)), strict=True
  ):
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize(
  ('name', 'num_members'),
  [
    ('cnn', 1),
    pytest.param('lstm', 1, marks=pytest.mark.slow),
    ('lstm', 2),
  ],
)
def test_accumulated_parts_give_the_update_of_the_whole_batch(
  name, num_members, tiny_config
):
  """Also with different weights, mixup and masks."""
  tiny_config.model.name = name
  tiny_config.model.num_members = num_members
  tiny_config.model.cnn.norm = 'none'  # it would normalise each part
  tiny_config.model.cnn.dropout = (0.0, 0.0)  # each part has masks of its own
  tiny_config.model.lstm.output_dropout = 0.0
  tiny_config.model.dense.dropout = (0.0,)
  tiny_config.train.warmup_epochs = 0.0
  batch = _batch()
  batch['num_frames'][1:4] = 40
  batch['weight'][2:] = np.linspace(0.1, 2.0, 6)

  def update(num_parts):
    tiny_config.train.accumulate_steps = num_parts
    state, step, key = _setup(_augmented(tiny_config))
    state, sums = step(state, batch, key)
    gradient = optax.tree_utils.tree_get(state.opt_state, 'mu')
    return jax.tree.leaves((gradient, sums)), jax.tree.leaves(state.params)

  (whole, weights), (parts, others) = update(1), update(4)
  for one, two in zip(whole, parts, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)
  # Adam divides by the gradient's size, which enlarges rounding errors.
  for one, two in zip(weights, others, strict=True):
    np.testing.assert_allclose(one, two, atol=5e-4)


def test_every_accumulated_part_has_its_own_dropout(tiny_config):
  tiny_config.model.name = 'lstm'
  tiny_config.model.lstm.output_dropout = 0.5
  tiny_config.augment.crop = 'grid'
  tiny_config.augment.gain_db = 0.0
  batch = _batch()
  for column in batch.values():
    column[:] = column[:1]  # eight times the same excerpt

  def loss(num_parts):
    tiny_config.train.accumulate_steps = num_parts
    state, step, key = _setup(tiny_config)
    return step(state, batch, key)[1].compute()['loss']

  assert loss(1) != loss(4)


def test_averaged_weights_are_an_exponential_moving_average(tiny_config):
  tiny_config.train.ema_decay = 0.99
  tiny_config.train.warmup_epochs = 0.0
  state, step, key = _setup(tiny_config)
  history = [jax.device_get(state.params)]
  for _ in range(3):
    state, _ = step(state, _batch(), key)
    history.append(jax.device_get(state.params))
  wanted = history[0]
  for i, params in enumerate(history[1:]):
    decay = min(0.99, (1 + i) / (10 + i))
    wanted = jax.tree.map(
      lambda a, b, d=decay: d * a + (1 - d) * b, wanted, params
    )
  for one, two in zip(
    jax.tree.leaves(wanted), jax.tree.leaves(state.ema_params), strict=True
  ):
    np.testing.assert_allclose(one, two, atol=1e-5)
  assert state.variables()['params'] is state.ema_params


def test_without_averaging_the_latest_weights_are_evaluated(tiny_config):
  state, _, _ = _setup(tiny_config)
  assert state.ema_params is None
  assert state.variables()['params'] is state.params
