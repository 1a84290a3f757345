import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mgc_jax.distributed.mesh import check_batch_size, data_mesh
from mgc_jax.system.errors import ConfigError

_TWO_DEVICES = """
import sys, json
import jax, numpy as np
from mgc_jax.config.schema import Config
from tests.conftest import tiny
from mgc_jax.models import create_model
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.distributed.mesh import data_mesh, replicated, shard_batch
from mgc_jax.training.step import create_state, train_step
import functools

config = tiny()
config.windows.num_windows = 2
frozen = Config.from_dict(config)
model, tx = create_model(frozen), create_optimizer(frozen.train, 2)
mesh = data_mesh()
state = create_state(model, tx, frozen, np.zeros(20, 'f'), np.ones(20, 'f'))
state = jax.device_put(state, replicated(mesh))
step = jax.jit(functools.partial(train_step, model=model, tx=tx, config=frozen))
rng = np.random.default_rng(0)
for _ in range(2):
  batch = {
    'frames': rng.normal(size=(8, 90, 20)).astype(np.float16),
    'num_frames': np.full(8, 90, np.int32),
    'label': np.arange(8, dtype=np.int32),
    'weight': np.ones(8, np.float32),
  }
  placed = shard_batch(batch, mesh)
  state, sums = step(state, placed, jax.random.key(0))
assert len(placed['frames'].sharding.device_set) == jax.device_count()
assert step._cache_size() == 1
leaves = [float(np.abs(x).sum()) for x in jax.tree.leaves(state.params)]
print(json.dumps([jax.device_count(), sums.compute()['loss'], leaves]))
"""


def _on_devices(count):
  done = subprocess.run(
    [sys.executable, '-c', _TWO_DEVICES],
    env={**os.environ, 'JAX_NUM_CPU_DEVICES': str(count)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_compute_what_one_computes():
  one, two = _on_devices(1), _on_devices(2)
  assert (one[0], two[0]) == (1, 2)
  assert two[1] == pytest.approx(one[1], rel=1e-4)
  np.testing.assert_allclose(two[2], one[2], rtol=1e-3)


def test_batch_that_cannot_be_divided_is_reported():
  mesh = data_mesh()
  check_batch_size('train.batch_size', 4 * mesh.size, mesh)

  class Two:
    size = 2

  with pytest.raises(ConfigError, match='config.train.batch_size=3: must be'):
    check_batch_size('train.batch_size', 3, Two())
