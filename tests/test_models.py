import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.config import base_config
from mgc_jax.errors import ConfigError
from mgc_jax.models import create_model, layers
from mgc_jax.models.layers import read_out_map
from mgc_jax.models.lstm import with_differences
from mgc_jax.models.recurrence import WindowLstm, fold_steps

NAMES = ('cnn', 'lstm', 'crnn')
B, W, T, F = 2, 3, 32, 20


def _config(name, tiny_config):
  tiny_config.model.name = name
  tiny_config.model.num_genres = 5
  return tiny_config


def _windows(seed=0):
  return jax.random.normal(jax.random.key(seed), (B, W, T, F))


def _init(config):
  model = create_model(config)
  return model, model.init(jax.random.key(0), _windows())


@pytest.mark.parametrize('name', NAMES)
def test_windows_to_logits(name, tiny_config):
  model, variables = _init(_config(name, tiny_config))
  logits = model.apply(variables, _windows())
  assert logits.shape == (B, W, 5) and logits.dtype == jnp.float32


@pytest.mark.parametrize('name', NAMES)
def test_windows_of_another_excerpt_change_nothing(name, tiny_config):
  model, variables = _init(_config(name, tiny_config))
  changed = _windows().at[1].set(0.0)
  one, two = (model.apply(variables, x) for x in (_windows(), changed))
  np.testing.assert_allclose(one[0], two[0], atol=1e-5)
  assert np.abs(one[1] - two[1]).max() > 1e-4


@pytest.mark.parametrize(
  ('name', 'reached'),
  [('cnn', [1]), ('lstm', [1, 2]), ('crnn', [1, 2])],
)
def test_a_window_reaches_itself_and_in_recurrent_models_later_ones(
  name, reached, tiny_config
):
  model, variables = _init(_config(name, tiny_config))
  changed = _windows().at[:, 1].set(_windows(1)[:, 1])
  one, two = (model.apply(variables, x) for x in (_windows(), changed))
  moved = np.abs(one - two).max(axis=(0, 2))
  assert [w for w in range(W) if moved[w] > 1e-5] == reached


@pytest.mark.parametrize('name', NAMES)
def test_dropout_acts_in_training_only(name, tiny_config):
  model, variables = _init(_config(name, tiny_config))

  def train(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return model.apply(
      variables, _windows(), train=True, rngs=rngs, mutable=['batch_stats']
    )[0]

  assert np.abs(train(0) - train(1)).max() > 1e-4
  np.testing.assert_array_equal(train(0), train(0))


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_agrees_with_float32(name, tiny_config):
  config = _config(name, tiny_config)
  model, variables = _init(config)
  config.model.dtype = 'bfloat16'
  logits = create_model(config).apply(variables, _windows())
  assert logits.dtype == jnp.float32
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
  wanted = model.apply(variables, _windows())
  np.testing.assert_allclose(logits, wanted, atol=0.05)
  assert np.abs(logits - wanted).max() > 0


def test_lstm_state_is_handed_from_window_to_window(tiny_config):
  """Cutting a stretch into other windows changes no step's output."""
  lstm = WindowLstm(tiny_config.model.lstm.copy_and_resolve_references())
  lstm.settings.readout = 'flatten'
  steps = jax.random.normal(jax.random.key(0), (B, 3, 8, F))
  variables = lstm.init(jax.random.key(0), steps, False)
  whole = steps.reshape(B, 4, 6, F)
  one, two = (lstm.apply(variables, x, False) for x in (steps, whole))
  np.testing.assert_allclose(one.reshape(B, -1), two.reshape(B, -1), rtol=1e-5)


def test_scan_equals_a_plain_loop_over_the_cell(tiny_config):
  settings = tiny_config.model.lstm
  settings.readout = 'flatten'
  size, steps = settings.hidden_size, 8
  lstm = WindowLstm(settings)
  x = jax.random.normal(jax.random.key(0), (steps, 1, steps, F))  # B == S
  variables = lstm.init(jax.random.key(0), x, False)
  found = lstm.apply(variables, x, False).reshape(steps, steps, size)
  cell = nn.OptimizedLSTMCell(size)
  params = _cell_params(variables['params'])
  state = (jnp.zeros((steps, size)),) * 2
  for i in range(steps):
    state, hidden = cell.apply({'params': params}, state, x[:, 0, i])
    np.testing.assert_allclose(found[:, i], hidden, atol=1e-5)


def _cell_params(params):
  """Turns those of WindowLstm into those of flax's cell."""
  found = {}
  for i, gate in enumerate('ifgo'):
    size = len(params['recurrence']['kernel'])
    at = slice(i * size, (i + 1) * size)
    found['i' + gate] = {'kernel': params['input_kernel'][:, at]}
    found['h' + gate] = {
      'kernel': params['recurrence']['kernel'][:, at],
      'bias': params['bias'][at],
    }
  return found


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('batch', [3, 64])  # by hand, and differentiated by jax
def test_gradients_of_the_scan_equal_those_of_the_loop(
  batch, dtype, tiny_config
):
  settings = tiny_config.model.lstm
  settings.update(readout='flatten', output_dropout=0.0, recurrent_dropout=0.5)
  size, steps = settings.hidden_size, 7
  lstm = WindowLstm(settings, jnp.dtype(dtype))
  x = jax.random.normal(jax.random.key(0), (batch, 1, steps, F))
  params = lstm.init(jax.random.key(1), x, False)['params']
  pull = jax.random.normal(jax.random.key(2), (batch, 1, steps * size))
  rngs = {'dropout': jax.random.key(3)}
  _, seen = lstm.apply(
    {'params': params}, x, True, rngs=rngs, capture_intermediates=True
  )
  (mask,) = seen['intermediates']['Dropout_1']['__call__']
  assert 0 < (mask == 0).mean() < 1

  def scanned(params, x):
    return (lstm.apply({'params': params}, x, True, rngs=rngs) * pull).sum()

  def looped(params, x):
    cell = nn.OptimizedLSTMCell(size, dtype=jnp.dtype(dtype))
    state, outputs = (jnp.zeros((batch, size)),) * 2, []
    for i in range(steps):
      masked = (state[0], state[1] * mask)
      state, hidden = cell.apply(
        {'params': _cell_params(params)}, masked, x[:, 0, i]
      )
      outputs.append(hidden)
    return (jnp.stack(outputs, 1).reshape(batch, 1, -1) * pull).sum()

  found = jax.jit(jax.grad(scanned, argnums=(0, 1)))(params, x)
  wanted = jax.grad(looped, argnums=(0, 1))(params, x)
  tolerance = {'float32': 1e-5, 'bfloat16': 5e-2}[dtype]
  for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize('name', ['lstm', 'crnn'])
def test_backwards_an_lstm_sees_each_window_alone(name, tiny_config):
  config = _config(name, tiny_config)
  config.model.cnn.readout = 'steps'
  config.model.lstm.bidirectional = True
  config.model.lstm.readout = 'mean_max'
  model, variables = _init(config)
  params = variables['params']
  assert _shape(params['backward']) == _shape(params['WindowLstm_0'])
  logits = model.apply(variables, _windows())
  changed = _windows().at[:, 1, -5:].add(1.0)
  moved = jnp.abs(model.apply(variables, changed) - logits).max(axis=(0, 2))
  assert moved[0] == 0 and (moved[1:] > 1e-5).all()
  # The end of a window changes what is read out of it backwards from the start.
  reset = jax.tree.map(jnp.zeros_like, params['WindowLstm_0'])
  variables = {**variables, 'params': {**params, 'WindowLstm_0': reset}}
  logits = model.apply(variables, _windows())
  moved = jnp.abs(model.apply(variables, changed) - logits).max(axis=(0, 2))
  assert moved[1] > 1e-5 and moved[0] == moved[2] == 0


def _shape(tree):
  return jax.tree.map(jnp.shape, tree)


def test_differences_are_beside_the_frames(tiny_config):
  windows = _windows()
  found = with_differences(windows)
  np.testing.assert_array_equal(found[..., :F], windows)
  assert (found[:, :, 0, F:] == 0).all()
  np.testing.assert_allclose(
    found[:, :, 1:, F:], windows[:, :, 1:] - windows[:, :, :-1], atol=1e-6
  )
  config = _config('lstm', tiny_config)
  config.model.lstm.differences = True
  params = _init(config)[1]['params']
  width = config.model.lstm.frames_per_step * 2 * F
  assert params['WindowLstm_0']['input_kernel'].shape[0] == width


def test_steps_are_encoded_one_by_one(tiny_config):
  config = _config('lstm', tiny_config)
  config.model.lstm.encoder_size = 7
  config.model.lstm.frames_per_step = 4
  model, variables = _init(config)
  params = variables['params']
  assert params['StepEncoder_0']['Dense_0']['kernel'].shape == (4 * F, 7)
  assert params['WindowLstm_0']['input_kernel'].shape[0] == 7
  logits, changed = model.apply(
    variables,
    _windows() * 3 + 1,
    train=True,
    mutable=['batch_stats'],
    rngs={'dropout': jax.random.key(0)},
  )
  assert logits.shape == (B, W, 5)
  stats = changed['batch_stats']['StepEncoder_0']['BatchNorm_0']
  steps = fold_steps(_windows() * 3 + 1, 4)
  sums = steps @ params['StepEncoder_0']['Dense_0']['kernel']
  wanted = 0.1 * sums.mean((0, 1, 2))
  np.testing.assert_allclose(stats['mean'], wanted, atol=1e-4)


def test_recurrent_dropout_uses_one_mask_for_all_steps(tiny_config):
  settings = tiny_config.model.lstm
  settings.update(readout='flatten', recurrent_dropout=0.9, output_dropout=0.0)
  lstm = WindowLstm(settings)
  x = jnp.ones((B, 1, 6, F))
  variables = lstm.init(jax.random.key(0), x, False)
  plain = lstm.apply(variables, x, False).reshape(B, 6, -1)
  rngs = {'dropout': jax.random.key(2)}
  masked = lstm.apply(variables, x, True, rngs=rngs).reshape(B, 6, -1)
  # The first step has no hidden state to mask; the second one has.
  np.testing.assert_allclose(plain[:, 0], masked[:, 0], atol=1e-6)
  assert np.abs(plain[:, 1] - masked[:, 1]).max() > 1e-4


def _num_params(config):
  model = create_model(config)
  shape = (1, 1, config.windows.num_frames, config.features.num_bands)
  init = functools.partial(model.init, jax.random.key(0))
  variables = jax.eval_shape(init, jnp.zeros(shape))
  return sum(x.size for x in jax.tree.leaves(variables['params']))


def test_default_cnn_is_no_larger_than_the_seed_s():
  assert _num_params(base_config()) < 370_000


@pytest.mark.parametrize('how', ['mean_max', 'mean', 'flatten', 'steps'])
def test_read_out_of_a_map(how):
  x = jax.random.normal(jax.random.key(0), (B, 3, 4, 5))
  found = read_out_map(x, how)
  wanted = {
    'mean_max': (B, 1, 10),
    'mean': (B, 1, 5),
    'flatten': (B, 1, 60),
    'steps': (B, 3, 20),
  }
  assert found.shape == wanted[how]
  if how == 'mean_max':
    np.testing.assert_allclose(found[:, 0, :5], x.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found[:, 0, 5:], x.mean(2).max(1), rtol=1e-5)


def test_folded_frames_keep_their_order():
  x = jnp.arange(B * W * 7 * F).reshape(B, W, 7, F)
  found = fold_steps(x, 3)
  assert found.shape == (B, W, 2, 3 * F)
  np.testing.assert_array_equal(found[:, :, 1, F : 2 * F], x[:, :, 4])


def test_too_much_pooling_is_named(tiny_config):
  tiny_config.model.cnn.pool_frames = (16, 16)
  with pytest.raises(ConfigError, match='config.model.cnn: pools'):
    _init(_config('cnn', tiny_config))


def test_parts_of_a_batch_change_nothing(tiny_config, monkeypatch):
  config = _config('crnn', tiny_config)
  config.model.cnn.norm = 'none'
  model, variables = _init(config)

  def loss(params):
    return (model.apply({'params': params}, _windows()) ** 2).sum()

  def graded():
    return jax.jit(jax.value_and_grad(loss))(variables['params'])

  whole = graded()
  monkeypatch.setattr(layers, '_WINDOWS_AT_ONCE', 4)  # of 6: 4 and 2
  parts = graded()
  close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6)
  jax.tree.map(close, parts, whole)


def test_parts_drop_different_elements(tiny_config, monkeypatch):
  config = _config('cnn', tiny_config)
  config.model.cnn.norm, config.model.dense.dropout = 'none', (0.0,)
  config.model.cnn.dropout = (0.5, 0.5)
  model, variables = _init(config)
  monkeypatch.setattr(layers, '_WINDOWS_AT_ONCE', 1)
  equal = jnp.broadcast_to(_windows()[:1, :1], (B, W, T, F))
  rngs = {'dropout': jax.random.key(0)}
  logits = model.apply(variables, equal, train=True, rngs=rngs)
  assert len({float(x) for x in logits[..., 0].ravel()}) == B * W


@pytest.mark.parametrize('name', NAMES)
def test_a_jitted_model_can_be_differentiated(name, tiny_config):
  model, variables = _init(_config(name, tiny_config))
  forward = jax.jit(model.apply)
  grads = jax.grad(lambda v: (forward(v, _windows()) ** 2).sum())(variables)
  assert max(float(abs(x).max()) for x in jax.tree.leaves(grads)) > 0


def test_batches_are_normalised_as_a_whole(tiny_config, monkeypatch):
  model, variables = _init(_config('cnn', tiny_config))

  def stats():
    return model.apply(
      variables,
      _windows(),
      train=True,
      rngs={'dropout': jax.random.key(0)},
      mutable=['batch_stats'],
    )[1]

  whole = stats()
  monkeypatch.setattr(layers, '_WINDOWS_AT_ONCE', 4)
  jax.tree.map(np.testing.assert_array_equal, stats(), whole)


def test_unknown_model_is_named(tiny_config):
  with pytest.raises(ConfigError, match='config.model.name=svm'):
    create_model(_config('svm', tiny_config))


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_elu_equals_that_of_flax(dtype):
  x = jnp.linspace(-9, 9, 401).astype(dtype)
  tolerance = {'float32': 2e-7, 'bfloat16': 8e-3}[dtype]
  for function, wanted in (
    (layers.elu, nn.elu),
    (jax.vmap(jax.grad(layers.elu)), jax.vmap(jax.grad(nn.elu))),
  ):
    found = function(x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(
      *(np.asarray(y, np.float32) for y in (found, wanted(x))), atol=tolerance
    )
