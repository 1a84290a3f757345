import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.models import create_model
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.step import create_state, train_step, training_windows
from mgc_jax.training.window_sums import NO_STEP, WindowSums

B, N, F, C = 8, 90, 20, 10


@pytest.fixture
def config(tiny_config):
  """That of most tests, so that they share one compiled step."""
  cnn, train = tiny_config.model.cnn, tiny_config.train
  cnn.filters, cnn.pool_frames, cnn.pool_bands = (4,), (4,), (4,)
  cnn.dropout = (0.1,)
  train.learning_rate, train.schedule = 1e-2, 'constant'
  train.warmup_epochs = 0.0
  train.clip_norm = 0.0  # it would hide a larger gradient
  tiny_config.augment.gain_db = 0.0
  return tiny_config


def _setup(config, seed=0):
  """Returns a new state, the step, and the run's key."""
  frozen = Config.from_dict(config)
  plain = dataclasses.replace(frozen, augment=Config().augment)
  state = jax.tree.map(jnp.array, _initial_state(plain))  # it is donated
  return state, _compiled_step(frozen), jax.random.key(seed)


@functools.cache
def _initial_state(config):
  tx = create_optimizer(config.train, 10)
  mean, std = np.zeros(F, 'f'), np.ones(F, 'f')
  return create_state(create_model(config), tx, config, mean, std)


@functools.cache
def _compiled_step(config):
  model, tx = create_model(config), create_optimizer(config.train, 10)
  step = functools.partial(train_step, model=model, tx=tx, config=config)
  return jax.jit(step, donate_argnums=0)


def test_only_the_ratio_of_weights_matters(config):
  """The loss is a weighted mean, so a common factor changes nothing."""
  state, step, key = _setup(config)
  heavy = _batch()
  heavy['weight'] *= 3
  gradients = [
    optax.tree_utils.tree_get(step(state, batch, key)[0].opt_state, 'mu')
    for state, batch in ((state, _batch()), (_setup(config)[0], heavy))
  ]
  for one, two in zip(*map(jax.tree.leaves, gradients), strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-7)


def _augmented(config):
  """Switches on the averaging of weights, too, for a step that tests share."""
  config.train.ema_decay = 0.99
  config.augment.gain_db = 6.0
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


def test_step_compiles_once(config):
  """With all that may be switched on; below for the other networks."""
  state, step, key = _setup(_augmented(config))
  for i in range(3):
    state, _ = step(state, _batch(i), key)
  assert step._cache_size() == 1
  assert int(state.step) == 3


@pytest.mark.parametrize(
  ('name', 'dtype'),
  [('cnn', 'float32'), ('lstm', 'float32'), ('crnn', 'bfloat16')],
)
def test_repeated_steps_fit_a_batch(name, dtype, config):
  config.model.name, config.model.dtype = name, dtype
  state, step, key = _setup(config)
  losses = []
  for _ in range(60):
    state, sums = step(state, _batch(), key)
    losses.append(sums.compute()['loss'])
  assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
  assert step._cache_size() == 1


def _norm(tree):
  return float(optax.tree_utils.tree_norm(tree))


def test_step_returns_the_norms_of_gradient_and_update(config):
  state, step, key = _setup(config)
  before = jax.device_get(state.params)
  state, sums = step(state, _batch(), key)
  # Adam's first moment is a tenth of the first gradient.
  gradient = optax.tree_utils.tree_get(state.opt_state, 'mu')
  found = sums.compute()
  assert found['grad_norm'] == pytest.approx(10 * _norm(gradient), rel=1e-4)
  update = jax.tree.map(lambda a, b: a - b, state.params, before)
  assert found['update_norm'] == pytest.approx(_norm(update), rel=1e-4)


@pytest.mark.parametrize('number', [None, 1, 3])
def test_sums_report_the_first_step_that_is_not_finite(number, config):
  state, step, key = _setup(config)
  total = WindowSums.of([])
  for i in range(1, 5):
    batch = _batch()
    if i == number:
      batch['weight'][2] = np.inf
    state, sums = step(state, batch, key)
    total = total.merge(sums)
  assert total.failed_step == (NO_STEP if number is None else number)
  assert total.num_steps == 4


def test_state_is_donated(config):
  state, step, key = _setup(config)
  new_state, _ = step(state, _batch(), key)
  assert all(x.is_deleted() for x in jax.tree.leaves(state.params))
  assert not any(x.is_deleted() for x in jax.tree.leaves(new_state))


def test_randomness_is_a_function_of_key_and_step(config):
  def loss(key_seed, num_steps):
    state, step, key = _setup(config, key_seed)
    for _ in range(num_steps):
      state, sums = step(state, _batch(), key)
    return sums.compute()['loss']

  assert loss(0, 2) == loss(0, 2)
  assert loss(0, 1) != loss(1, 1)


def test_each_step_has_its_own_randomness(config):
  """The same weights and batch at another step: other crops and masks."""

  def loss(number):
    state, step, key = _setup(_augmented(config))
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
def test_each_augmentation_changes_the_loss(name, off, on, config):
  """Each is changed alone, for the same batch and key."""

  def loss(value):
    config.augment[name] = value
    state, step, key = _setup(config)
    return step(state, _batch(), key)[1].compute()['loss']

  assert abs(loss(on) - loss(off)) > 1e-4


@pytest.mark.parametrize('standardise', ['excerpt', 'excerpt_bands', 'window'])
def test_statistics_are_those_of_the_limited_range(standardise, config):
  """As in evaluation, which computes them from what a recording has."""
  config.windows.standardise = standardise
  config.augment.floor_db = 999.0  # above all values, which become equal
  config.augment.mixup_alpha = 0.0
  state, _, key = _setup(config)
  windows, mask, _ = training_windows(
    key, state, _batch(), Config.from_dict(config)
  )
  assert mask.all() and np.abs(windows).max() < 1.0


def test_window_and_excerpt_levels_agree_for_a_window_of_a_whole_excerpt(
  config,
):
  length = config.windows.num_frames

  def loss(standardise, num_frames):
    config.windows.standardise = standardise
    state, step, key = _setup(config)
    batch = _batch()
    batch['frames'] = batch['frames'][:, :num_frames]
    batch['num_frames'] = np.full(B, num_frames, np.int32)
    return step(state, batch, key)[1].compute()['loss']

  whole, part = ((loss('window', n), loss('excerpt', n)) for n in (length, N))
  assert whole[0] == pytest.approx(whole[1], rel=1e-4)
  assert abs(part[0] - part[1]) > 1e-4


def _batch_of_two_collections():
  """The first four examples are of a collection that has only four genres."""
  number = np.where(np.arange(B) < 4, 4, C)
  return {**_batch(), 'own_genres': np.arange(C)[None] < number[:, None]}


def test_a_loss_compares_only_the_genres_of_the_collection(config):
  def loss(genre, examples):
    """Returns the loss if every example is taken for a genre."""
    state, step, key = _setup(config)
    state.params['Head_0']['Dense_1']['bias'] = jnp.eye(C)[genre] * 5
    batch = _batch_of_two_collections()
    batch['weight'] = np.isin(np.arange(B), examples).astype('f')
    return step(state, batch, key)[1].compute()['loss']

  few, every = np.arange(4), np.arange(4, 8)
  assert loss(7, few) == pytest.approx(loss(9, few), rel=1e-5)
  assert loss(7, few) < loss(2, few) - 0.5
  assert loss(7, every) < loss(9, every) - 0.5  # it is the genre of one


def test_smoothing_spreads_over_the_genres_of_the_collection(config):
  config.train.label_smoothing = 0.3
  config.augment.mixup_alpha = 0.0
  state, _, key = _setup(config)
  batch = _batch_of_two_collections()
  _, _, targets = training_windows(key, state, batch, Config.from_dict(config))
  np.testing.assert_allclose(targets[2], [*[0.075] * 2, 0.775, 0.075, *[0] * 6])
  np.testing.assert_allclose(targets[5], np.eye(C)[5] * 0.7 + 0.03, rtol=1e-5)


def test_examples_of_weight_zero_do_not_change_the_update(config):
  config.model.cnn.norm = 'none'  # it would normalise by padding
  changed = _batch()
  changed['frames'][4:] = 9.0

  def update(batch):
    batch['weight'][4:] = 0.0
    state, step, key = _setup(config)
    return step(state, batch, key)[0].params

  for one, two in zip(
    *(jax.tree.leaves(update(b)) for b in (_batch(), changed)), strict=True
  ):
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize(
  ('name', 'num_members', 'num_parts'),
  [
    ('cnn', 1, 2),
    pytest.param('lstm', 1, 4, marks=pytest.mark.slow),
    ('lstm', 2, 2),
  ],
)
def test_accumulated_parts_give_the_update_of_the_whole_batch(
  name, num_members, num_parts, config
):
  """Also with different weights, mixup and masks."""
  config.model.name = name
  config.model.num_members = num_members
  config.model.cnn.norm = 'none'  # it would normalise each part
  config.train.learning_rate = 2e-3  # the tolerance below depends on it
  config.model.cnn.dropout = (0.0,)  # each part has masks of its own
  config.model.lstm.output_dropout = 0.0
  config.model.dense.dropout = (0.0,)
  batch = _batch()
  batch['num_frames'][1:4] = 40
  batch['weight'][2:] = np.linspace(0.1, 2.0, 6)

  def update(num_parts):
    config.train.accumulate_steps = num_parts
    state, step, key = _setup(_augmented(config))
    state, sums = step(state, batch, key)
    gradient = optax.tree_utils.tree_get(state.opt_state, 'mu')
    return jax.tree.leaves((gradient, sums)), jax.tree.leaves(state.params)

  (whole, weights), (parts, others) = update(1), update(num_parts)
  for one, two in zip(whole, parts, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)
  # Adam divides by the gradient's size, which enlarges rounding errors.
  for one, two in zip(weights, others, strict=True):
    np.testing.assert_allclose(one, two, atol=5e-4)


def test_every_accumulated_part_has_its_own_dropout(config):
  config.augment.crop = 'grid'
  config.train.accumulate_steps = 2
  batch = _batch()
  for column in batch.values():
    column[:] = column[:1]  # eight times the same excerpt

  def loss(part):
    """Returns the loss of one part, as the rows of the other weigh nothing."""
    weight = np.where(np.arange(B) % 2 == part, 1, 0).astype('f')
    state, step, key = _setup(config)
    return step(state, {**batch, 'weight': weight}, key)[1].compute()['loss']

  assert loss(0) != loss(1)


def test_averaged_weights_are_an_exponential_moving_average(config):
  state, step, key = _setup(_augmented(config))
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


def test_without_averaging_the_latest_weights_are_evaluated(config):
  state, _, _ = _setup(config)
  assert state.ema_params is None
  assert state.variables()['params'] is state.params
