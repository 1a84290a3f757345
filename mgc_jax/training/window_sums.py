"""What training adds up on the device: sums until the end."""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class WindowSums:
  """Sums over windows, so that merging them is exact."""

  loss_sum: jax.Array
  correct: jax.Array
  count: jax.Array

  @classmethod
  def of(cls, sums: Sequence[float]) -> 'WindowSums':
    """Returns what `to_list` was called on; no window's where it is empty."""
    return cls(*jax.device_put(list(map(np.float32, sums or (0, 0, 0)))))

  def to_list(self) -> list[float]:
    """Returns the sums, exactly."""
    return [float(x) for x in (self.loss_sum, self.correct, self.count)]

  def merge(self, other: 'WindowSums') -> 'WindowSums':
    """Adds."""
    return jax.tree.map(jnp.add, self, other)

  def compute(self) -> dict[str, float]:
    """Divides: `loss` and `window_accuracy`."""
    count = max(float(self.count), 1.0)
    return {
      'loss': float(self.loss_sum) / count,
      'window_accuracy': float(self.correct) / count,
    }
