import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mgc_jax.config.schema import base_config
from mgc_jax.training.optimizer import create_optimizer, learning_rate


def _train(**fields):
  train = base_config().train
  train.update(num_epochs=10, learning_rate=0.5, warmup_epochs=2.0, **fields)
  return train


def test_rate_warms_up_and_falls_to_zero():
  rate = learning_rate(_train(), steps_per_epoch=5)
  assert rate(0) == 0.0 and rate(5) == pytest.approx(0.25)
  assert rate(10) == pytest.approx(0.5)
  assert rate(30) == pytest.approx(0.25)
  assert rate(50) == pytest.approx(0.0, abs=1e-6)


def test_constant_schedule_does_not_change():
  rate = learning_rate(_train(schedule='constant'), steps_per_epoch=5)
  assert rate(10) == rate(49) == pytest.approx(0.5)


def _update(gradient, params, **fields):
  tx = create_optimizer(_train(**fields), steps_per_epoch=1)
  state = tx.init(params)
  for _ in range(2):  # the first step has rate 0
    updates, state = tx.update(gradient, state, params)
  return updates


def test_only_kernels_decay():
  part = {'kernel': jnp.ones((2, 3)), 'bias': jnp.ones(3)}
  params = {'ConvStack_0': part, 'Head_0': part}
  zero = jax.tree.map(jnp.zeros_like, params)
  updates = _update(zero, params, weight_decay=0.1)
  for found in updates.values():
    assert (found['kernel'] < 0).all() and (found['bias'] == 0).all()
  updates = _update(zero, params, weight_decay=0.1, optimizer='adam')
  assert (updates['Head_0']['kernel'] == 0).all()
  updates = _update(zero, params, weight_decay=0.1, freeze_backbone=True)
  assert (updates['ConvStack_0']['kernel'] == 0).all()
  assert (updates['Head_0']['kernel'] < 0).all()
  members = {'members_0': zero, 'members_1': zero}
  whole = {'members_0': params, 'members_1': params}
  updates = _update(members, whole, weight_decay=0.1, freeze_backbone=True)
  for found in updates.values():
    assert (found['ConvStack_0']['kernel'] == 0).all()
    assert (found['Head_0']['kernel'] < 0).all()


def test_gradients_are_clipped_by_their_global_norm():
  params = {'bias': jnp.ones(2)}

  def first_moment(clip_norm):
    tx = create_optimizer(_train(clip_norm=clip_norm), steps_per_epoch=1)
    gradient = {'bias': jnp.array([300.0, 400.0])}
    _, state = tx.update(gradient, tx.init(params), params)
    return optax.tree_utils.tree_get(state, 'mu')['bias']

  # Adam's first moment is a tenth of the first gradient.
  np.testing.assert_allclose(first_moment(1.0), [0.06, 0.08], rtol=1e-5)
  np.testing.assert_allclose(first_moment(0.0), [30.0, 40.0], rtol=1e-5)
