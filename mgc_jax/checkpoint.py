"""Checkpoints (Orbax): for resuming, and for nothing else."""

import os
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers as managers

from mgc_jax.partition import replicated
from mgc_jax.train_state import TrainState


class Checkpoints:
  """The latest epoch's checkpoint and the best one's, in one folder."""

  def __init__(self, directory: str | os.PathLike, mesh: Mesh):
    """Opens or makes the folder.

    Args:
      directory: of the checkpoints.
      mesh: on which states are restored.
    """
    self._mesh = mesh
    # Two policies: `max_to_keep` with `best_fn` would evict the latest one.
    policy = managers.AnyPreservationPolicy(
      [
        managers.LatestN(n=1),
        managers.BestN(
          n=1,
          get_metric_fn=lambda m: m['rank'],
          keep_checkpoints_without_metrics=False,
        ),
      ]
    )
    self._manager = ocp.CheckpointManager(
      pathlib.Path(directory).absolute(),
      options=ocp.CheckpointManagerOptions(preservation_policy=policy),
    )

  def restore(
    self, state: TrainState, progress: dict[str, Any]
  ) -> tuple[TrainState, dict[str, Any]]:
    """Returns the latest state and progress; what was passed if there is none.

    Args:
      state: freshly created; gives the shapes.
      progress: of a run that has not begun.
    """
    step = self._manager.latest_step()
    state = jax.device_put(state, replicated(self._mesh))
    if step is None:
      return state, progress
    found = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(jax.tree.map(_abstract, state)),
        progress=ocp.args.JsonRestore(),
      ),
    )
    return found.state, found.progress

  def save(self, state: TrainState, progress: dict[str, Any]) -> None:
    """Saves an epoch's end.

    Args:
      state: after the epoch.
      progress: JSON; `best_epoch` is the epoch that is best so far, and
        `epoch` the one that ended.
    """
    is_best = progress['best_epoch'] == progress['epoch']
    self._manager.save(
      int(state.step),
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        progress=ocp.args.JsonSave(progress),
      ),
      # Later bests beat earlier ones; the loop has decided what is better.
      metrics={'rank': float(progress['epoch'] if is_best else -1)},
    )

  def close(self) -> None:
    """Waits until everything is on disk."""
    self._manager.wait_until_finished()
    self._manager.close()


def _abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
