"""Where a training run is: the part of a checkpoint that is no array."""

import dataclasses
import math
from typing import Any

from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Progress:
  """Everything that decides how a run goes on, besides its state.

  The order of an epoch is a function of (seed, epoch), so `epoch` and
  `steps_done` are its place in the data.
  """

  data_fingerprint: str  # of the split that it was begun on
  epoch: int = -1  # the latest that ended
  steps_done: int = 0  # of the next one
  sums: tuple[float, ...] = ()  # WindowSums of those steps
  best_epoch: int = -1  # the patience counts from it
  best_score: tuple[float, float] | None = None  # accuracy, and minus the loss

  @classmethod
  def from_json(cls, found: dict[str, Any]) -> 'Progress':
    """Returns what `to_json` was called on.

    Raises:
      LookupError, TypeError, ValueError: it is something else.
    """
    score = found['best_score']
    return cls(
      data_fingerprint=str(found['data_fingerprint']),
      epoch=int(found['epoch']),
      steps_done=int(found['steps_done']),
      sums=tuple(map(float, found['sums'])),
      best_epoch=int(found['best_epoch']),
      best_score=None if score is None else (float(score[0]), float(score[1])),
    )

  def to_json(self) -> dict[str, Any]:
    """Returns what JSON can hold."""
    return dataclasses.asdict(self)

  def within_epoch(self, steps_done: int, sums: list[float]) -> 'Progress':
    """Returns the progress after some steps of the epoch that follows."""
    return dataclasses.replace(self, steps_done=steps_done, sums=tuple(sums))

  def after_epoch(self, valid: dict[str, float] | None) -> 'Progress':
    """Returns the progress at the end of the epoch that follows.

    Args:
      valid: its `track_accuracy` and `track_loss` on the validation split;
        empty where there is none, and then every epoch is the best so far;
        None where it was not evaluated.
    """
    ended = Progress(
      self.data_fingerprint,
      self.epoch + 1,
      best_epoch=self.best_epoch,
      best_score=self.best_score,
    )
    if valid is None:
      return ended
    if not valid:
      return dataclasses.replace(ended, best_epoch=ended.epoch)
    # The loss decides between equal accuracies, which few tracks make common.
    loss = valid['track_loss']
    # NaN is neither greater nor less than anything.
    loss = loss if math.isfinite(loss) else math.inf
    score = (valid['track_accuracy'], -loss)
    if self.best_score is not None and score <= self.best_score:
      return ended
    return dataclasses.replace(ended, best_epoch=ended.epoch, best_score=score)

  @property
  def is_best(self) -> bool:
    """Returns whether this is the end of the best epoch so far."""
    return not self.steps_done and self.best_epoch == self.epoch

  def is_out_of_patience(self, train: ConfigDict) -> bool:
    """Returns whether `config.train.patience_epochs` brought nothing better."""
    waited = self.epoch - self.best_epoch
    return bool(train.patience_epochs) and waited >= train.patience_epochs

  def is_finished(self, train: ConfigDict) -> bool:
    """Returns whether the run is at its end."""
    return self.epoch + 1 >= train.num_epochs or self.is_out_of_patience(train)
