"""How far a training run has come: the part of a checkpoint besides arrays."""

import dataclasses
import math
from typing import Any

from mgc_jax.config.schema import TrainConfig

# Changes when what checkpoints hold, or what it means, changes.
FORMAT_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Progress:
  """Everything besides the train state that decides how a run continues.

  The order of an epoch is a function of (seed, epoch), so `epochs_done` and
  `steps_done` are the position in the data.
  """

  data_fingerprint: str  # of the split that the run was started on
  epochs_done: int = 0  # so it is also the index of the epoch in progress
  steps_done: int = 0  # in the epoch in progress
  sums: tuple[float, ...] = ()  # WindowSums of those steps
  epochs_at_best: int = 0  # `epochs_done` at the end of the best epoch
  best_score: tuple[float, float] | None = None  # accuracy, and minus the loss

  @classmethod
  def from_json(cls, found: dict[str, Any]) -> 'Progress':
    """Returns the progress that `to_json` was called on.

    Raises:
      LookupError, TypeError, ValueError: `found` is something else.
    """
    score = found['best_score']
    return cls(
      data_fingerprint=str(found['data_fingerprint']),
      epochs_done=int(found['epochs_done']),
      steps_done=int(found['steps_done']),
      sums=tuple(map(float, found['sums'])),
      epochs_at_best=int(found['epochs_at_best']),
      best_score=None if score is None else (float(score[0]), float(score[1])),
    )

  def to_json(self) -> dict[str, Any]:
    """Returns the progress and its format version, as JSON can hold them."""
    return {'format_version': FORMAT_VERSION, **dataclasses.asdict(self)}

  def within_epoch(self, steps_done: int, sums: list[float]) -> 'Progress':
    """Returns the progress after some steps of the epoch in progress."""
    return dataclasses.replace(self, steps_done=steps_done, sums=tuple(sums))

  def after_epoch(self, valid: dict[str, float] | None) -> 'Progress':
    """Returns the progress at the end of the epoch in progress.

    Args:
      valid: its `track_accuracy` and `track_loss` on the validation split. If
        that split is empty, so is this, and every epoch is the best so far.
        None if the epoch was not evaluated.
    """
    ended = Progress(
      self.data_fingerprint,
      self.epochs_done + 1,
      epochs_at_best=self.epochs_at_best,
      best_score=self.best_score,
    )
    if valid is None:
      return ended
    best = dataclasses.replace(ended, epochs_at_best=ended.epochs_done)
    if not valid:
      return best
    # The loss decides between equal accuracies, which few tracks make common.
    loss = valid['track_loss']
    # NaN is neither greater nor less than anything.
    loss = loss if math.isfinite(loss) else math.inf
    score = (valid['track_accuracy'], -loss)
    if self.best_score is not None and score <= self.best_score:
      return ended
    return dataclasses.replace(best, best_score=score)

  @property
  def is_best(self) -> bool:
    """Returns whether this is the end of the best epoch so far."""
    at_end = self.epochs_done > 0 and not self.steps_done
    return at_end and self.epochs_at_best == self.epochs_done

  def is_out_of_patience(self, train: TrainConfig) -> bool:
    """Returns whether `train.patience_epochs` passed without a better epoch."""
    waited = self.epochs_done - self.epochs_at_best
    return bool(train.patience_epochs) and waited >= train.patience_epochs

  def is_finished(self, train: TrainConfig) -> bool:
    """Returns whether there is nothing left to train."""
    return self.epochs_done >= train.num_epochs or self.is_out_of_patience(
      train
    )
