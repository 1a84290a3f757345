"""What training adds up on the device; it is divided once, at the end."""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

NO_STEP = np.int32(np.iinfo(np.int32).max)


@flax.struct.dataclass
class WindowSums:
  """Sums over windows and over steps, so that merging them is exact."""

  loss_sum: jax.Array  # f32[], over windows
  correct: jax.Array  # f32[], windows
  count: jax.Array  # f32[], windows
  grad_norm_sum: jax.Array | float = 0.0  # f32[], over steps; before clipping
  update_norm_sum: jax.Array | float = 0.0  # f32[], over steps
  num_steps: jax.Array | float = 0.0  # f32[]
  # i32[], the first step, counted from 1 at the start of training, whose loss,
  # gradient or update is not finite; NO_STEP if there is none.
  failed_step: jax.Array | np.int32 = NO_STEP

  @classmethod
  def of(cls, sums: Sequence[float]) -> 'WindowSums':
    """Returns the sums that `to_list` was called on; zeros for an empty list.

    Args:
      sums: of steps that did not fail.
    """
    *values, no_step = jax.device_put(
      [*map(np.float32, sums or (0,) * 6), NO_STEP]
    )
    return cls(*values, failed_step=no_step)

  def to_list(self) -> list[float]:
    """Returns the sums, exactly."""
    *sums, _ = jax.tree.leaves(self)
    return [float(x) for x in sums]

  def merge(self, other: 'WindowSums') -> 'WindowSums':
    """Returns the sums over the windows and steps of both."""
    failed_step = jnp.minimum(self.failed_step, other.failed_step)
    return jax.tree.map(jnp.add, self, other).replace(failed_step=failed_step)

  def compute(self) -> dict[str, float]:
    """Returns `loss` and `window_accuracy` over windows, and norms over steps.

    `grad_norm` and `update_norm` are present if any step was added.
    """
    count, num_steps = max(float(self.count), 1.0), float(self.num_steps)
    means = {
      'loss': float(self.loss_sum) / count,
      'window_accuracy': float(self.correct) / count,
    }
    if num_steps:
      means['grad_norm'] = float(self.grad_norm_sum) / num_steps
      means['update_norm'] = float(self.update_norm_sum) / num_steps
    return means
