import json

import pytest

from mgc_jax.config.schema import base_config
from mgc_jax.training.progress import Progress


def _scored(accuracy, loss):
  return {'track_accuracy': accuracy, 'track_loss': loss}


def test_nothing_is_done_and_nothing_is_best_at_the_start():
  start = Progress('abc')
  assert start.epochs_done == 0 and not start.is_best
  assert not start.within_epoch(1, [1.0]).is_best
  assert not start.is_finished(base_config().train)


def test_best_epoch_is_chosen_by_track_accuracy_then_loss():
  progress, best = Progress('abc'), []
  scores = [(0.5, 2.0), (0.6, 3.0), (0.6, 2.5), (0.6, 2.5), (0.4, 0.1)]
  for score in scores:
    progress = progress.after_epoch(_scored(*score))
    best.append(progress.epochs_at_best)
  assert best == [1, 2, 3, 3, 3]
  assert progress.epochs_done == 5 and not progress.is_best


def test_a_loss_that_is_nan_is_never_better():
  train = base_config().train
  train.num_epochs, train.patience_epochs = 50, 2
  progress = Progress('abc').after_epoch(_scored(0.1, 2.3))
  for _ in range(2):
    progress = progress.after_epoch(_scored(0.1, float('nan')))
  assert progress.epochs_at_best == 1 and progress.is_finished(train)


def test_without_a_validation_split_every_epoch_is_the_best():
  progress = Progress('abc').after_epoch({}).after_epoch({})
  assert progress.is_best and progress.epochs_done == 2


def test_an_epoch_that_is_not_evaluated_is_not_the_best():
  train = base_config().train
  train.num_epochs, train.patience_epochs = 50, 2
  progress = Progress('abc').after_epoch(_scored(0.1, 2.3)).after_epoch(None)
  assert progress.epochs_done == 2 and progress.epochs_at_best == 1
  assert not progress.is_finished(train)
  assert progress.after_epoch(None).is_finished(train)


def test_the_end_of_an_epoch_resets_its_steps():
  inside = Progress('abc').within_epoch(3, [1.0, 2.0, 3.0])
  assert inside.steps_done == 3 and not inside.is_best
  assert inside.after_epoch({}).steps_done == 0
  assert inside.after_epoch({}).sums == ()


def test_patience_counts_from_the_best_epoch():
  train = base_config().train
  train.num_epochs, train.patience_epochs = 50, 2
  progress = Progress('abc').after_epoch(_scored(0.5, 1.0))
  ended = []
  for _ in range(3):
    ended.append(progress.is_finished(train))
    progress = progress.after_epoch(_scored(0.4, 1.0))
  assert ended == [False, False, True]
  train.patience_epochs = 0
  assert not progress.is_finished(train)
  train.num_epochs = 4
  assert progress.is_finished(train)


def test_json_round_trip_is_exact():
  progress = Progress('abc', 3, 7, (1 / 3, 0.1, 5.0), 2, (1 / 7, -2 / 3))
  text = json.dumps(progress.to_json())
  assert Progress.from_json(json.loads(text)) == progress


@pytest.mark.parametrize(
  'found', [{}, {**Progress('a').to_json(), 'sums': 3}, {'epochs_done': None}]
)
def test_other_json_is_rejected(found):
  with pytest.raises((LookupError, TypeError, ValueError)):
    Progress.from_json(found)
