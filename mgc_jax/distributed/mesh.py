"""Data parallelism: one mesh over all devices of all processes.

Batches are divided along their first axis, the state is whole on every
device. With several processes each has the rows of its own devices; what is
written is written by the first process alone.
"""

import collections
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mgc_jax.system.errors import ConfigError, DataError

PyTree = Any

_PATIENCE_S = 7 * 24 * 3600  # one process may prepare for days


def data_mesh() -> Mesh:
  """Returns a mesh with one axis, `data`, over all devices.

  Raises:
    ConfigError: processes have different numbers of devices.
  """
  counts = collections.Counter(d.process_index for d in jax.devices())
  if len(set(counts.values())) > 1:
    raise ConfigError(
      f'--distributed: processes have {sorted(counts.values())} devices; each '
      'must have as many as the others'
    )
  # By process: the rows of a process lie together.
  devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  # Auto axes: under Explicit ones, the default, Linen's Dropout breaks.
  return Mesh(np.array(devices), ('data',), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of the state: a copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
  """Puts a tree, the same in every process, on all devices."""
  # Through the host: an array of one process's device is no global one.
  return jax.device_put(jax.device_get(tree), replicated(mesh))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict:
  """Puts a batch on the devices, divided along its first axis.

  Args:
    batch: this process's rows of it; see `process_part`.
    mesh: of `data_mesh`.

  Returns:
    The whole batch, as arrays over all processes.
  """
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  return {
    name: jax.make_array_from_process_local_data(sharding, rows)
    for name, rows in batch.items()
  }


def process_part() -> tuple[int, int]:
  """Returns this process's number and how many there are."""
  return jax.process_index(), jax.process_count()


def is_writer() -> bool:
  """Returns whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def put_on_all(tree: PyTree, mesh: Mesh) -> PyTree:
  """As `replicate`, of numpy arrays that are large: they are not compared.

  Args:
    tree: the same in every process.
    mesh: of `data_mesh`.
  """
  sharding = replicated(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, x, x.shape),
    tree,
  )


def of_writer(value: bool) -> bool:
  """Returns the value that the writing process passes, in every process."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.broadcast_one_to_all(np.array(value)))


def in_every_process(value: bool) -> bool:
  """Returns whether all processes pass True."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.array(value)).all())


def check_same(name: str, digest: str) -> None:
  """Raises `DataError` where another process has something else.

  Args:
    name: of what is compared.
    digest: of this process's, hexadecimal, 16 digits.
  """
  if jax.process_count() == 1:
    return
  own = np.frombuffer(bytes.fromhex(digest), np.uint32)
  found = multihost_utils.process_allgather(own)
  if (found != found[0]).any():
    raise DataError(
      f'--distributed: processes have different {name}; they must see the same '
      'files, and have the same libraries to read them'
    )


def wait_for_all(name: str) -> None:
  """Returns when every process is here; at once where there is one.

  Args:
    name: of the place in the program.
  """
  # Of given processes: over the coordinator, which may wait for days; without
  # them it would be a collective of the devices, which may not.
  processes = set(range(jax.process_count()))
  if len(processes) > 1:
    import orbax.checkpoint as ocp  # a second; only here

    ocp.multihost.sync_global_processes(
      name, timeout=_PATIENCE_S, processes=processes
    )


def check_batch_size(name: str, batch_size: int, mesh: Mesh) -> None:
  """Raises `ConfigError` where a batch cannot be divided evenly."""
  if batch_size % mesh.size:
    raise ConfigError(
      f'config.{name}={batch_size}: must be a multiple of the {mesh.size} '
      'devices'
    )
