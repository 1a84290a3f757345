"""Checkpoints (Orbax); they serve only to resume a run."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from mgc_jax.system.errors import DataError
from mgc_jax.training.progress import FORMAT_VERSION, Progress
from mgc_jax.training.step import TrainState


class Checkpoints:
  """Saves and restores checkpoints; keeps the latest and the best epoch's."""

  def __init__(self, directory: str | os.PathLike):
    """Opens the folder.

    Args:
      directory: holds the checkpoints; made if it is missing.
    """
    self._directory = pathlib.Path(directory).absolute()
    # Two policies, as `max_to_keep` with `best_fn` would delete the latest one.
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
    """Returns the latest state and progress, or None without a checkpoint.

    Args:
      state: any state of the same model, on the mesh; gives the shapes.

    Raises:
      DataError: the checkpoint is damaged or has another format.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    with self._damage_named(step):
      progress = self._restore(step, progress=ocp.args.JsonRestore())
      version = progress.get('format_version')
    # Before the state, which may have other shapes in another version.
    if version != FORMAT_VERSION:
      raise DataError(
        f'{self._directory}: checkpoints of another version of this program '
        f'(format {version}, here {FORMAT_VERSION}), which cannot be resumed '
        'from; use another --workdir'
      )
    with self._damage_named(step):
      shapes = jax.tree.map(_abstract, state)
      found = self._restore(step, state=ocp.args.StandardRestore(shapes))
      return found, Progress.from_json(progress)

  def _restore(self, step: int, **item: ocp.args.CheckpointArgs) -> Any:
    """Returns one item of a checkpoint."""
    (name,) = item
    return self._manager.restore(step, args=ocp.args.Composite(**item))[name]

  def save(self, state: TrainState, progress: Progress) -> None:
    """Saves a checkpoint; every process of the run saves its part.

    It is written atomically: if the process is killed while it saves, the
    previous checkpoint remains the latest.

    Args:
      state: after the latest step.
      progress: of the same moment.

    Raises:
      DataError: the folder cannot be written.
    """
    with self._failure_named():
      self._manager.save(
        int(state.step),
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          progress=ocp.args.JsonSave(progress.to_json()),
        ),
        # `Progress` decides what is better, so the latest best is the best.
        metrics={
          'rank': float(progress.epochs_done if progress.is_best else 0)
        },
      )

  def close(self) -> None:
    """Waits until all checkpoints are on disk.

    Raises:
      DataError: the folder cannot be written.
    """
    with self._failure_named():
      self._manager.wait_until_finished()
      self._manager.close()

  @contextlib.contextmanager
  def _damage_named(self, step: int) -> Iterator[None]:
    """Turns an error of reading a checkpoint into a `DataError`."""
    try:
      yield
    except (OSError, LookupError, TypeError, ValueError) as error:
      raise DataError(
        f'{self._directory / str(step)}: damaged checkpoint ({error}); delete '
        'this folder to continue from an earlier one, or from the beginning'
      ) from error

  @contextlib.contextmanager
  def _failure_named(self) -> Iterator[None]:
    """Turns an error of writing a checkpoint into a `DataError`."""
    try:
      yield
    # For a full disk Orbax and its storage raise a ValueError.
    except (OSError, ValueError) as error:
      raise DataError(
        f'{self._directory}: a checkpoint cannot be written ({error}); the '
        'previous one is complete, and the same command continues from it'
      ) from error


def _abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
