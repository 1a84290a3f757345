"""Data parallelism: one mesh over all devices of all processes.

Batches are divided along their first axis; every device has the whole state.
Each of several processes provides the rows for its own devices. Only the first
process writes files and prints.
"""

import collections
import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mgc_jax.system.errors import ConfigError, DataError

PyTree = Any

_TIMEOUT_S = 7 * 24 * 3600  # one process may prepare for days


def data_mesh() -> Mesh:
  """Returns a mesh with one axis, `data`, over all devices.

  Raises:
    ConfigError: the processes have different numbers of devices.
  """
  counts = collections.Counter(d.process_index for d in jax.devices())
  if len(set(counts.values())) > 1:
    raise ConfigError(
      f'--distributed: processes have {sorted(counts.values())} devices; each '
      'must have as many as the others'
    )
  # By process, so that the rows of a process are contiguous.
  devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  # Auto axes: under Explicit ones, the default, Linen's Dropout breaks.
  return Mesh(np.array(devices), ('data',), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of the state: a copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
  """Copies a tree, which is the same in every process, to all devices."""
  # Through the host, as an array on one process's device is not a global one.
  return jax.device_put(jax.device_get(tree), replicated(mesh))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict:
  """Puts a batch on the devices, divided along its first axis.

  Args:
    batch: this process's rows of the batch; see `process_part`.
    mesh: the devices.

  Returns:
    The whole batch, as global arrays.
  """
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  return {
    name: jax.make_array_from_process_local_data(sharding, rows)
    for name, rows in batch.items()
  }


def process_part() -> tuple[int, int]:
  """Returns this process's index and the number of processes."""
  return jax.process_index(), jax.process_count()


def is_writer() -> bool:
  """Returns whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def put_on_all(tree: PyTree, mesh: Mesh) -> PyTree:
  """Copies large numpy arrays to all devices.

  Unlike `replicate`, it does not check that all processes have the same values.

  Args:
    tree: numpy arrays, the same in every process.
    mesh: the devices.
  """
  sharding = replicated(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, x, x.shape),
    tree,
  )


def of_writer(value: bool) -> bool:
  """Returns, in every process, the value that the writing process passes."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.broadcast_one_to_all(np.array(value)))


def in_every_process(value: bool) -> bool:
  """Returns, in every process, whether all of them pass True."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.array(value)).all())


def check_same(name: str, digest: str) -> None:
  """Checks that all processes have the same data.

  Args:
    name: what is compared, for the message.
    digest: of this process's data, 16 hexadecimal digits.

  Raises:
    DataError: the digests differ.
  """
  if jax.process_count() == 1:
    return
  own = np.frombuffer(bytes.fromhex(digest), np.uint32)
  found = multihost_utils.process_allgather(own)
  if (found != found[0]).any():
    raise DataError(
      f'--distributed: processes have different {name}; they must see the same '
      'files and have the same libraries to read them'
    )


def wait_for_all(name: str) -> None:
  """Waits until every process has called this; one alone does not wait.

  Args:
    name: identifies the place in the program.
  """
  # With `processes` it waits through the coordinator, for days if necessary.
  # Without, it would be a collective of the devices, which time out.
  processes = set(range(jax.process_count()))
  if len(processes) > 1:
    import orbax.checkpoint as ocp  # a second; only here

    ocp.multihost.sync_global_processes(
      name, timeout=_TIMEOUT_S, processes=processes
    )


@contextlib.contextmanager
def first_process_first(name: str) -> Iterator[None]:
  """Lets the other processes enter the block once the first has left it.

  Args:
    name: identifies the place in the program.
  """
  if not is_writer():
    wait_for_all(name)
  yield
  if is_writer():
    wait_for_all(name)


def check_batch_size(name: str, batch_size: int, mesh: Mesh) -> None:
  """Checks that a batch can be divided evenly among the devices.

  Args:
    name: the field's name after `config.`, for the message.
    batch_size: B.
    mesh: the devices.

  Raises:
    ConfigError: it cannot.
  """
  if batch_size % mesh.size:
    raise ConfigError(
      f'config.{name}={batch_size}: must be a multiple of the {mesh.size} '
      'devices'
    )
