"""Data parallelism: one mesh over all devices, batches divided, state whole."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mgc_jax.errors import ConfigError


def data_mesh() -> Mesh:
  """Returns a mesh with one axis, `data`, over all devices."""
  # Auto axes: under Explicit ones, the default, Linen's Dropout breaks.
  return jax.make_mesh(
    (jax.device_count(),), ('data',), axis_types=(AxisType.Auto,)
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of the state: a copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict:
  """Puts a batch on the devices, divided along its first axis."""
  return jax.device_put(batch, NamedSharding(mesh, PartitionSpec('data')))


def check_batch_size(name: str, batch_size: int, mesh: Mesh) -> None:
  """Raises `ConfigError` where a batch cannot be divided evenly."""
  if batch_size % mesh.size:
    raise ConfigError(
      f'config.{name}={batch_size}: must be a multiple of the {mesh.size} '
      'devices'
    )
