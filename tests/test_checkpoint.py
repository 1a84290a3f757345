import jax
import numpy as np
import pytest
from ml_collections import FrozenConfigDict

from mgc_jax.checkpoint import Checkpoints
from mgc_jax.models import create_model
from mgc_jax.optim import create_optimizer
from mgc_jax.partition import data_mesh
from mgc_jax.train_state import create_state


@pytest.fixture
def state(tiny_config):
  tiny_config.train.ema_decay = 0.9
  tx = create_optimizer(tiny_config.train, 3)
  return create_state(
    create_model(tiny_config),
    tx,
    FrozenConfigDict(tiny_config),
    np.zeros(20, 'f'),
    np.ones(20, 'f'),
  )


def _progress(epoch, best_epoch):
  return {'epoch': epoch, 'best_epoch': best_epoch, 'best_score': [0.5, -1.0]}


def test_nothing_to_restore_gives_what_was_passed(state, tmp_path):
  checkpoints = Checkpoints(tmp_path, data_mesh())
  found, progress = checkpoints.restore(state, _progress(-1, -1))
  assert progress == _progress(-1, -1)
  assert int(found.step) == 0


def test_latest_is_restored_and_the_best_is_kept(state, tmp_path):
  checkpoints = Checkpoints(tmp_path, data_mesh())
  for epoch, best in enumerate([0, 1, 1, 1]):
    later = state.replace(
      step=state.step + 10 * (epoch + 1),
      band_mean=state.band_mean + epoch,
    )
    checkpoints.save(later, _progress(epoch, best))
  checkpoints.close()
  kept = sorted(int(path.name) for path in tmp_path.glob('[0-9]*'))
  assert kept == [20, 40]

  again = Checkpoints(tmp_path, data_mesh())
  found, progress = again.restore(state, _progress(-1, -1))
  assert progress == _progress(3, 1)
  for one, two in zip(
    jax.tree.leaves(later), jax.tree.leaves(found), strict=True
  ):
    np.testing.assert_array_equal(one, two)
  assert jax.tree.structure(later) == jax.tree.structure(found)
