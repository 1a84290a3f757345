import jax
import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.distributed.mesh import data_mesh, replicate
from mgc_jax.models import create_model
from mgc_jax.system.errors import DataError
from mgc_jax.training.checkpoint import Checkpoints
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.progress import Progress
from mgc_jax.training.step import create_state


@pytest.fixture
def state(tiny_config):
  tiny_config.train.ema_decay = 0.9
  config = Config.from_dict(tiny_config)
  tx = create_optimizer(config.train, 3)
  return create_state(
    create_model(config),
    tx,
    config,
    np.zeros(20, 'f'),
    np.ones(20, 'f'),
  )


def _progress(epochs_done, epochs_at_best, **fields):
  return Progress(
    'abc',
    epochs_done,
    epochs_at_best=epochs_at_best,
    best_score=(0.5, -1.0),
    **fields,
  )


def _placed(state):
  return replicate(state, data_mesh())


def test_an_empty_folder_restores_nothing(state, tmp_path):
  assert Checkpoints(tmp_path).restore(_placed(state)) is None


def test_latest_is_restored_and_the_best_is_kept(state, tmp_path):
  for epoch, best in enumerate([1, 2, 2, 2], 1):
    checkpoints = Checkpoints(tmp_path)  # as after a kill
    later = state.replace(
      step=state.step + 10 * epoch,
      band_mean=state.band_mean + epoch,
    )
    checkpoints.save(later, _progress(epoch, best))
    checkpoints.close()
  kept = sorted(int(path.name) for path in tmp_path.glob('[0-9]*'))
  assert kept == [20, 40]

  again = Checkpoints(tmp_path)
  found, progress = again.restore(_placed(state))
  assert progress == _progress(4, 2)
  for one, two in zip(
    jax.tree.leaves(later), jax.tree.leaves(found), strict=True
  ):
    np.testing.assert_array_equal(one, two)
  assert jax.tree.structure(later) == jax.tree.structure(found)


def test_a_position_within_an_epoch_is_restored_exactly(state, tmp_path):
  checkpoints = Checkpoints(tmp_path)
  inside = _progress(2, 1, steps_done=7, sums=(1 / 3, 2.0, 0.1))
  checkpoints.save(state.replace(step=state.step + 5), inside)
  checkpoints.close()
  _, progress = Checkpoints(tmp_path).restore(_placed(state))
  assert progress == inside


def test_a_damaged_checkpoint_is_reported(state, tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state.replace(step=state.step + 5), _progress(0, 0))
  checkpoints.close()
  for path in (tmp_path / '5' / 'state').glob('**/*'):
    if path.is_file() and path.stat().st_size > 100:
      path.write_bytes(b'\xff' * path.stat().st_size)
  with pytest.raises(DataError, match='checkpoint.*5: damaged|5: damaged'):
    Checkpoints(tmp_path).restore(_placed(state))


def test_checkpoints_of_an_earlier_version_are_reported(state, tmp_path):
  class Earlier(Progress):
    def to_json(self):
      return {'epoch': -1, 'steps_done': 3}

  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state.replace(step=state.step + 3), Earlier('abc'))
  checkpoints.close()
  smaller = state.replace(params={}, opt_state=())  # it was another model then
  for wanted in (state, smaller):
    with pytest.raises(DataError, match='another version.*--workdir'):
      Checkpoints(tmp_path).restore(_placed(wanted))
