import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.models import HEAD, create_model, heads
from mgc_jax.models import bundle as bundles
from tests.conftest import tiny

NAMES = ('cnn', 'lstm', 'crnn')
B, W, T, F, M = 6, 2, 32, 20, 3


@pytest.fixture(params=NAMES, scope='module')
def parts(request):
  """An ensemble without dropout, its variables, windows, and one member."""
  config = tiny()
  config.model.name, config.model.num_members = request.param, M
  cnn = config.model.cnn
  cnn.filters, cnn.pool_frames, cnn.pool_bands = (4,), (4,), (4,)
  cnn.dropout, cnn.norm = (0.0,), 'none'
  config.model.lstm.output_dropout = 0.0
  config.model.dense.dropout = (0.0,) * len(config.model.dense.sizes)
  model = create_model(config)
  windows = jax.random.normal(jax.random.key(1), (B, W, T, F))
  variables = jax.jit(model.init)(jax.random.key(0), windows)
  config.model.num_members = 1
  return jax.jit(create_model(config).apply), model, variables, windows


def _member(apply, variables, number, windows):
  params = variables['params'][f'members_{number}']
  return apply({'params': params}, windows)


def test_members_start_with_different_weights(parts):
  _, _, variables, _ = parts
  own = [variables['params'][f'members_{i}'] for i in range(M)]
  assert len(variables['params']) == M
  kernels = [jax.tree.leaves(params[HEAD])[-1] for params in own]
  assert not np.array_equal(kernels[0], kernels[1])


def test_the_prediction_is_the_mean_of_the_members_probabilities(parts):
  apply, model, variables, windows = parts
  found = jax.nn.softmax(jax.jit(model.apply)(variables, windows))
  each = [_member(apply, variables, i, windows) for i in range(M)]
  wanted = jnp.mean(jax.nn.softmax(jnp.stack(each)), axis=0)
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_in_training_each_member_has_its_own_rows(parts):
  apply, model, variables, windows = parts
  found = jax.jit(functools.partial(model.apply, train=True))(
    variables, windows, rngs={'dropout': jax.random.key(0)}
  )
  each = [_member(apply, variables, i, windows) for i in range(M)]
  for row in range(B):
    np.testing.assert_allclose(found[row], each[row % M][row], atol=1e-4)


def test_heads_of_all_members_are_found(parts):
  _, _, variables, _ = parts
  found = {path[0] for path in heads(variables['params'])}
  assert found == {f'members_{i}' for i in range(M)}
  kinds = {path[1] for path in heads(variables['params'])}
  assert kinds == {HEAD}


def test_a_bundle_of_members_is_loaded(bundle, tiny_config, tmp_path):
  tiny_config.model.num_members = M  # which does not divide the default batch
  windows = np.zeros((1, 1, tiny_config.windows.num_frames, 20), np.float32)
  config = Config.from_dict(tiny_config)
  variables = jax.jit(create_model(config).init)(jax.random.key(0), windows)
  whole = dataclasses.replace(
    bundle, config=config, variables=jax.device_get(variables)
  )
  bundles.save(whole, tmp_path / 'bundle')
  found = bundles.load(tmp_path / 'bundle')
  assert found.config.model.num_members == M
  assert found.num_params == whole.num_params
