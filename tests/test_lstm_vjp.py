import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.models.cpu.lstm_vjp import WindowLstm, stack_steps
from mgc_jax.models.lstm import with_deltas
from tests.small_models import (
  B,
  F,
  W,
  apply,
  configure,
  initialise,
  windows,
)


@functools.partial(jax.jit, static_argnums=0)
def _init(lstm, x):
  return lstm.init(jax.random.key(0), x, False)


@functools.partial(jax.jit, static_argnums=0)
def _apply(lstm, variables, x):
  return lstm.apply(variables, x, False)


def test_lstm_state_is_passed_from_window_to_window():
  """Cutting a sequence into other windows changes no step's output."""
  lstm = WindowLstm(8, readout='flatten')
  steps = jax.random.normal(jax.random.key(0), (B, 3, 8, F))
  variables = _init(lstm, steps)
  whole = steps.reshape(B, 4, 6, F)
  one, two = (_apply(lstm, variables, x) for x in (steps, whole))
  np.testing.assert_allclose(one.reshape(B, -1), two.reshape(B, -1), rtol=1e-5)


def test_scan_equals_a_plain_loop_over_the_cell():
  size, steps = 9, 8
  lstm = WindowLstm(size, readout='flatten')
  x = jax.random.normal(jax.random.key(0), (steps, 1, steps, F))  # B == S
  variables = _init(lstm, x)
  found = _apply(lstm, variables, x).reshape(steps, steps, size)
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


@pytest.mark.parametrize(
  'dtype', ['float32', pytest.param('bfloat16', marks=pytest.mark.slow)]
)
@pytest.mark.parametrize('batch', [3, 64])  # by hand, and differentiated by jax
def test_gradients_of_the_scan_equal_those_of_the_loop(batch, dtype):
  size, steps = 8, 7
  lstm = WindowLstm(
    size,
    recurrent_dropout=0.5,
    output_dropout=0.0,
    readout='flatten',
    dtype=jnp.dtype(dtype),
  )
  x = jax.random.normal(jax.random.key(0), (batch, 1, steps, F))
  params = _init(lstm, x)['params']
  pull = jax.random.normal(jax.random.key(2), (batch, 1, steps * size))
  rngs = {'dropout': jax.random.key(3)}
  _, seen = jax.jit(
    lambda: lstm.apply(
      {'params': params}, x, True, rngs=rngs, capture_intermediates=True
    )
  )()
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
  wanted = jax.jit(jax.grad(looped, argnums=(0, 1)))(params, x)
  tolerance = {'float32': 1e-5, 'bfloat16': 5e-2}[dtype]
  for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize('name', ['lstm', 'crnn'])
def test_without_state_each_window_is_predicted_independently(
  name, tiny_config
):
  config = configure(name, tiny_config)
  model, variables = initialise(config)
  stateful = apply(model, variables, windows())
  config.model.lstm.stateful = False
  model, _ = initialise(config)  # the same weights
  together = apply(model, variables, windows())
  for w in range(windows().shape[1]):
    alone = apply(model, variables, windows()[:, w : w + 1])
    np.testing.assert_allclose(together[:, w], alone[:, 0], atol=1e-5)
  np.testing.assert_allclose(together[:, 0], stateful[:, 0], atol=1e-5)
  assert jnp.abs(together - stateful)[:, 1:].max() > 1e-4


@pytest.mark.parametrize('name', ['lstm', 'crnn'])
def test_a_backward_lstm_sees_each_window_alone(name, tiny_config):
  config = configure(name, tiny_config)
  config.model.cnn.readout = 'steps'
  config.model.lstm.bidirectional = True
  config.model.lstm.readout = 'mean_max'
  model, variables = initialise(config)
  params = variables['params']
  assert _shape(params['backward']) == _shape(params['WindowLstm_0'])
  logits = apply(model, variables, windows())
  changed = windows().at[:, 1, -5:].add(1.0)
  moved = jnp.abs(apply(model, variables, changed) - logits).max(axis=(0, 2))
  assert moved[0] == 0 and (moved[1:] > 1e-5).all()
  # The end of a window changes what is read out of it backwards from the start.
  reset = jax.tree.map(jnp.zeros_like, params['WindowLstm_0'])
  variables = {**variables, 'params': {**params, 'WindowLstm_0': reset}}
  logits = apply(model, variables, windows())
  moved = jnp.abs(apply(model, variables, changed) - logits).max(axis=(0, 2))
  assert moved[1] > 1e-5 and moved[0] == moved[2] == 0


def _shape(tree):
  return jax.tree.map(jnp.shape, tree)


def test_differences_are_appended_to_the_frames(tiny_config):
  frames = windows()
  found = with_deltas(frames)
  np.testing.assert_array_equal(found[..., :F], frames)
  assert (found[:, :, 0, F:] == 0).all()
  np.testing.assert_allclose(
    found[:, :, 1:, F:], frames[:, :, 1:] - frames[:, :, :-1], atol=1e-6
  )
  config = configure('lstm', tiny_config)
  config.model.lstm.deltas = True
  params = initialise(config)[1]['params']
  width = config.model.lstm.stack_frames * 2 * F
  assert params['WindowLstm_0']['input_kernel'].shape[0] == width


def test_steps_are_encoded_one_by_one(tiny_config):
  config = configure('lstm', tiny_config)
  config.model.lstm.encoder_size = 7
  config.model.lstm.stack_frames = 4
  model, variables = initialise(config)
  params = variables['params']
  assert params['StepEncoder_0']['Dense_0']['kernel'].shape == (4 * F, 7)
  assert params['WindowLstm_0']['input_kernel'].shape[0] == 7
  logits, changed = jax.jit(
    lambda x: model.apply(
      variables,
      x,
      train=True,
      mutable=['batch_stats'],
      rngs={'dropout': jax.random.key(0)},
    )
  )(windows() * 3 + 1)
  assert logits.shape == (B, W, 5)
  stats = changed['batch_stats']['StepEncoder_0']['BatchNorm_0']
  steps = stack_steps(windows() * 3 + 1, 4)
  sums = steps @ params['StepEncoder_0']['Dense_0']['kernel']
  wanted = 0.1 * sums.mean((0, 1, 2))
  np.testing.assert_allclose(stats['mean'], wanted, atol=1e-4)


def test_recurrent_dropout_uses_one_mask_for_all_steps():
  lstm = WindowLstm(
    8, recurrent_dropout=0.9, output_dropout=0.0, readout='flatten'
  )
  x = jnp.ones((B, 1, 6, F))
  variables = _init(lstm, x)
  plain = _apply(lstm, variables, x).reshape(B, 6, -1)
  rngs = {'dropout': jax.random.key(2)}
  masked = jax.jit(lambda: lstm.apply(variables, x, True, rngs=rngs))()
  masked = masked.reshape(B, 6, -1)
  # The first step has no hidden state to mask; the second one has.
  np.testing.assert_allclose(plain[:, 0], masked[:, 0], atol=1e-6)
  assert np.abs(plain[:, 1] - masked[:, 1]).max() > 1e-4
