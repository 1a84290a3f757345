"""Checkpoints (Orbax): for resuming, and for nothing else."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from mgc_jax.system.errors import DataError
from mgc_jax.training.progress import Progress
from mgc_jax.training.step import TrainState


class Checkpoints:
  """The latest checkpoint and the best epoch's, in one folder."""

  def __init__(self, directory: str | os.PathLike):
    """Opens or makes the folder.

    Args:
      directory: of the checkpoints.
    """
    self._directory = pathlib.Path(directory).absolute()
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
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        best_fn=lambda m: m['rank'],  # without it, ranks are not saved
      ),
    )

  def restore(self, state: TrainState) -> tuple[TrainState, Progress] | None:
    """Returns the latest state and progress; None where there is none.

    Args:
      state: freshly created, on the mesh; gives the shapes.

    Raises:
      DataError: the checkpoint cannot be read.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    try:
      found = self._manager.restore(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardRestore(jax.tree.map(_abstract, state)),
          progress=ocp.args.JsonRestore(),
        ),
      )
      return found['state'], Progress.from_json(found['progress'])
    except (OSError, LookupError, TypeError, ValueError) as error:
      raise DataError(
        f'{self._directory / str(step)}: damaged checkpoint ({error}); delete '
        'this folder to go on from an earlier one, or from the beginning'
      ) from error

  def save(self, state: TrainState, progress: Progress) -> None:
    """Saves where a run is; a save that is killed leaves the one before.

    Args:
      state: after the latest step.
      progress: likewise.

    Raises:
      DataError: the folder cannot be written.
    """
    with self._named_failure():
      self._manager.save(
        int(state.step),
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          progress=ocp.args.JsonSave(progress.to_json()),
        ),
        # Later bests beat earlier ones; the loop has decided what is better.
        metrics={'rank': float(progress.epoch if progress.is_best else -1)},
      )

  def close(self) -> None:
    """Waits until everything is on disk.

    Raises:
      DataError: the folder cannot be written.
    """
    with self._named_failure():
      self._manager.wait_until_finished()
      self._manager.close()

  @contextlib.contextmanager
  def _named_failure(self) -> Iterator[None]:
    try:
      yield
    # What Orbax and its storage raise for a full disk is a ValueError.
    except (OSError, ValueError) as error:
      raise DataError(
        f'{self._directory}: a checkpoint cannot be written ({error}); the '
        'one before is whole, and the same command continues from it'
      ) from error


def _abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
