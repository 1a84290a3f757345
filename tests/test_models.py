import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.models import Cnn, Crnn, Lstm, create_model, layers
from mgc_jax.models.cpu.lstm_vjp import stack_steps
from mgc_jax.models.layers import read_out_map
from mgc_jax.system.errors import ConfigError
from tests.small_models import (
  B,
  F,
  T,
  W,
  apply,
  configure,
  initialise,
  windows,
)

NAMES = ('cnn', 'lstm', 'crnn')


@pytest.mark.parametrize('name', NAMES)
def test_windows_become_float32_logits(name, tiny_config):
  model, variables = initialise(configure(name, tiny_config))
  logits = apply(model, variables, windows())
  assert logits.shape == (B, W, 5) and logits.dtype == jnp.float32


@pytest.mark.parametrize('name', NAMES)
def test_windows_of_another_excerpt_change_nothing(name, tiny_config):
  model, variables = initialise(configure(name, tiny_config))
  changed = windows().at[1].set(0.0)
  one, two = (apply(model, variables, x) for x in (windows(), changed))
  np.testing.assert_allclose(one[0], two[0], atol=1e-5)
  assert np.abs(one[1] - two[1]).max() > 1e-4


@pytest.mark.parametrize(
  ('name', 'reached'),
  [('cnn', [1]), ('lstm', [1, 2]), ('crnn', [1, 2])],
)
def test_a_window_reaches_itself_and_in_recurrent_models_later_ones(
  name, reached, tiny_config
):
  model, variables = initialise(configure(name, tiny_config))
  changed = windows().at[:, 1].set(windows(1)[:, 1])
  one, two = (apply(model, variables, x) for x in (windows(), changed))
  moved = np.abs(one - two).max(axis=(0, 2))
  assert [w for w in range(W) if moved[w] > 1e-5] == reached


@pytest.mark.parametrize('name', NAMES)
def test_dropout_acts_in_training_only(name, tiny_config):
  model, variables = initialise(configure(name, tiny_config))

  @jax.jit
  def train(seed):
    rngs = {'dropout': jax.random.key(seed)}
    return model.apply(
      variables, windows(), train=True, rngs=rngs, mutable=['batch_stats']
    )[0]

  assert np.abs(train(0) - train(1)).max() > 1e-4
  np.testing.assert_array_equal(train(0), train(0))


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_agrees_with_float32(name, tiny_config):
  config = configure(name, tiny_config)
  model, variables = initialise(config)
  config.model.dtype = 'bfloat16'
  logits = apply(create_model(config), variables, windows())
  assert logits.dtype == jnp.float32
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
  wanted = apply(model, variables, windows())
  np.testing.assert_allclose(logits, wanted, atol=0.05)
  assert np.abs(logits - wanted).max() > 0


def _num_params(config):
  model = create_model(config)
  shape = (1, 1, config.windows.num_frames, config.features.num_bands)
  init = functools.partial(model.init, jax.random.key(0))
  variables = jax.eval_shape(init, jnp.zeros(shape))
  return sum(x.size for x in jax.tree.leaves(variables['params']))


def test_default_cnn_is_no_larger_than_the_baseline_s():
  assert _num_params(Config()) < 370_000


@pytest.mark.parametrize(
  'how', ['mean_max', 'mean', 'flatten', 'steps', 'step_means']
)
def test_readout_of_a_feature_map(how):
  x = jax.random.normal(jax.random.key(0), (B, 3, 4, 5))
  found = read_out_map(x, how)
  wanted = {
    'mean_max': (B, 1, 10),
    'mean': (B, 1, 5),
    'flatten': (B, 1, 60),
    'steps': (B, 3, 20),
    'step_means': (B, 3, 5),
  }
  assert found.shape == wanted[how]
  if how == 'mean_max':
    np.testing.assert_allclose(found[:, 0, :5], x.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found[:, 0, 5:], x.mean(2).max(1), rtol=1e-5)
  if how == 'step_means':
    np.testing.assert_allclose(found, x.mean(2), rtol=1e-5)


def test_folded_frames_keep_their_order():
  x = jnp.arange(B * W * 7 * F).reshape(B, W, 7, F)
  found = stack_steps(x, 3)
  assert found.shape == (B, W, 2, 3 * F)
  np.testing.assert_array_equal(found[:, :, 1, F : 2 * F], x[:, :, 4])


def test_too_much_pooling_is_reported(tiny_config):
  tiny_config.model.cnn.pool_frames = (16, 16)
  with pytest.raises(ConfigError, match='config.model.cnn: pools'):
    initialise(configure('cnn', tiny_config))


def test_every_window_has_its_own_dropout(tiny_config):
  config = configure('cnn', tiny_config)
  config.model.cnn.norm, config.model.dense.dropout = 'none', (0.0,)
  config.model.cnn.dropout = (0.5, 0.5)
  model, variables = initialise(config)
  equal = jnp.broadcast_to(windows()[:1, :1], (B, W, T, F))
  rngs = {'dropout': jax.random.key(0)}
  train = jax.jit(functools.partial(model.apply, train=True))
  logits = train(variables, equal, rngs=rngs)
  assert len({float(x) for x in logits[..., 0].ravel()}) == B * W


@pytest.mark.parametrize('name', NAMES)
def test_a_jitted_model_can_be_differentiated(name, tiny_config):
  model, variables = initialise(configure(name, tiny_config))
  grads = jax.jit(jax.grad(lambda v: (apply(model, v, windows()) ** 2).sum()))(
    variables
  )
  assert max(float(abs(x).max()) for x in jax.tree.leaves(grads)) > 0


@pytest.mark.parametrize('norm', ['batch', 'batch_after_pool'])
@pytest.mark.parametrize('name', ['relu', 'gelu'])
def test_a_block_follows_its_norm_setting(norm, name):
  block = layers.ConvBlock(
    4, (2, 2), padding='VALID', activation=name, norm=norm
  )
  x = jax.random.normal(jax.random.key(1), (3, 10, 8, 2))
  init = jax.jit(functools.partial(block.init, train=True))
  params = init(jax.random.key(0), x)['params']
  scale = jnp.array([1.0, -1.0, 2.0, -0.5])  # a negative one turns the maximum
  params['BatchNorm_0']['scale'] = scale
  found, _ = jax.jit(
    functools.partial(block.apply, train=True, mutable=['batch_stats'])
  )({'params': params}, x)

  def pool(x):
    return nn.max_pool(x, (2, 2), (2, 2))

  y = nn.Conv(4, (3, 3), padding='VALID', use_bias=False).apply(
    {'params': {'kernel': params['Conv_0']['kernel']}}, x.transpose(3, 1, 2, 0)
  )
  y = pool(y) if norm == 'batch_after_pool' else y
  mean, var = (f((0, 1, 2), keepdims=True) for f in (y.mean, y.var))
  y = scale[None, None, None] * (y - mean) / jnp.sqrt(var + 1e-5)
  y = getattr(nn, name)(y)
  y = y if norm == 'batch_after_pool' else pool(y)
  np.testing.assert_allclose(found, y.transpose(3, 1, 2, 0), atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_a_model_without_a_config_has_the_defaults_of_the_config(name):
  config = Config()
  config = dataclasses.replace(
    config, model=dataclasses.replace(config.model, name=name, num_genres=5)
  )
  model = {'cnn': Cnn, 'lstm': Lstm, 'crnn': Crnn}[name](num_genres=5)
  made = create_model(config)
  assert type(made) is type(model)
  for one in dataclasses.fields(model):
    if one.name not in ('parent', 'name'):
      assert getattr(made, one.name) == getattr(model, one.name), one.name


def test_a_model_can_be_built_without_a_config():
  model = Crnn(
    num_genres=5,
    filters=(4, 6),
    pool_frames=(2, 2),
    pool_bands=(2, 2),
    dropout=(0.0, 0.1),
    readout='steps',
    lstm_hidden_size=8,
    dense_sizes=(),
    dense_dropout=(),
  )
  logits, _ = jax.eval_shape(
    model.init_with_output, jax.random.key(0), windows()
  )
  assert logits.shape == (B, W, 5)


def test_unknown_model_is_reported(tiny_config):
  with pytest.raises(ConfigError, match='config.model.name=svm'):
    create_model(configure('svm', tiny_config))


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
