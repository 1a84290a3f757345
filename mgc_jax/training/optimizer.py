"""Creates the optimiser and its learning rate schedule."""

import functools
from typing import Any

import optax
from flax.traverse_util import path_aware_map

from mgc_jax.config.schema import TrainConfig
from mgc_jax.models import HEAD


def learning_rate(train: TrainConfig, steps_per_epoch: int) -> optax.Schedule:
  """Returns the learning rate as a function of the step, counted from 0.

  It rises linearly, then falls to zero as a cosine or stays constant.

  Args:
    train: `config.train`.
    steps_per_epoch: converts its numbers of epochs to steps.
  """
  total = train.num_epochs * steps_per_epoch
  warmup = min(round(train.warmup_epochs * steps_per_epoch), total)
  if train.schedule == 'cosine':
    after = optax.cosine_decay_schedule(
      train.learning_rate, max(1, total - warmup)
    )
  else:
    after = optax.constant_schedule(train.learning_rate)
  ramp = optax.linear_schedule(0.0, train.learning_rate, max(1, warmup))
  return optax.join_schedules([ramp, after], [warmup])


def create_optimizer(
  train: TrainConfig, steps_per_epoch: int
) -> optax.GradientTransformation:
  """Returns gradient clipping, then AdamW or Adam with the scheduled rate.

  Args:
    train: `config.train`.
    steps_per_epoch: converts its numbers of epochs to steps.
  """
  rate = learning_rate(train, steps_per_epoch)
  if train.optimizer == 'adamw':
    update = optax.adamw(
      rate,
      weight_decay=train.weight_decay,
      mask=functools.partial(_decays, freeze_backbone=train.freeze_backbone),
    )
  else:
    update = optax.adam(rate)
  if not train.clip_norm:
    return update
  return optax.chain(optax.clip_by_global_norm(train.clip_norm), update)


def _decays(params: Any, freeze_backbone: bool) -> Any:
  """Returns which parameters decay: kernels, which are not vectors.

  Biases and the parameters of normalisation are vectors. In a frozen backbone
  nothing decays.
  """
  return path_aware_map(
    lambda path, x: x.ndim > 1 and (HEAD in path or not freeze_backbone), params
  )
