"""The train state, and the step that updates it."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mgc_jax.config.schema import Config, WindowsConfig
from mgc_jax.models.windows import (
  cut,
  frame_stats,
  random_starts,
  scattered_starts,
  standardise,
  stretched,
  window_stats,
)
from mgc_jax.training.augment import (
  augment_windows,
  gain,
  random_filter,
  random_range,
  random_shift,
  random_speed,
)
from mgc_jax.training.window_sums import NO_STEP, WindowSums

PyTree = Any


@flax.struct.dataclass
class TrainState:
  """The arrays that training needs; functions are arguments of the step."""

  step: jax.Array  # i32[], the number of steps done
  params: PyTree
  batch_stats: PyTree  # empty if the model has no batch normalisation
  opt_state: optax.OptState
  ema_params: PyTree  # None if config.train.ema_decay is 0
  band_mean: jax.Array  # f32[F], of the training split
  band_std: jax.Array  # f32[F]

  def variables(self) -> PyTree:
    """Returns the variables to evaluate: averaged weights, if they are kept."""
    params = self.params if self.ema_params is None else self.ema_params
    return {'params': params, 'batch_stats': self.batch_stats}


def create_state(
  model: nn.Module,
  tx: optax.GradientTransformation,
  config: Config,
  band_mean: np.ndarray,
  band_std: np.ndarray,
) -> TrainState:
  """Returns the state at step 0, with random weights.

  Args:
    model: see `models.create_model`.
    tx: see `optimizer.create_optimizer`.
    config: the whole configuration; `seed` determines the weights.
    band_mean: f32[F], each band's mean over the training split.
    band_std: f32[F], its standard deviation.
  """
  shape = (1, 1, config.windows.num_frames, len(band_mean))
  variables = _init(model, jax.random.key(config.seed), shape)
  params = variables['params']
  return TrainState(
    # An array, because a Python int would compile the step twice.
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables.get('batch_stats', {}),
    opt_state=jax.jit(tx.init)(params),  # one program, not one per parameter
    # A copy, because both are donated, and a buffer can be donated only once.
    ema_params=jax.tree.map(jnp.copy, params)
    if config.train.ema_decay
    else None,
    band_mean=jnp.asarray(band_mean),
    band_std=jnp.asarray(band_std),
  )


@functools.partial(jax.jit, static_argnums=(0, 2))
def _init(model: nn.Module, key: jax.Array, shape: tuple[int, ...]) -> PyTree:
  return model.init(key, jnp.zeros(shape, jnp.float32))


def train_step(
  state: TrainState,
  batch: dict[str, jax.Array],
  key: jax.Array,
  *,
  model: nn.Module,
  tx: optax.GradientTransformation,
  config: Config,
) -> tuple[TrainState, WindowSums]:
  """Cuts windows, augments them, and updates the weights once.

  Args:
    state: to be updated; the caller's jit donates it.
    batch: `frames` f16[B, N, F], `num_frames` i32[B], `label` i32[B], `weight`
      f32[B]; and `own_genres` bool[B, C] if the loss of an example compares
      only these genres.
    key: the run's key; the step folds `state.step` into it.
    model: static argument.
    tx: static argument.
    config: the whole configuration; static argument.

  Returns:
    The next state; and the sums of the step's loss, accuracy and norms. Under
    mixup a window is correct if the prediction is the genre of its larger part.
  """
  window_key, dropout_key = jax.random.split(
    jax.random.fold_in(key, state.step)
  )
  windows, mask, targets = training_windows(window_key, state, batch, config)
  weights = mask * batch['weight'][:, None]
  examples = {
    'windows': windows,
    'targets': targets,
    # They sum to 1 over the whole batch, so that its parts can be added.
    'weights': weights / jnp.maximum(weights.sum(), 1e-6),
    'label': batch['label'],
    'mask': mask,
  }
  if 'own_genres' in batch:
    examples['own_genres'] = batch['own_genres']
  grads, batch_stats, (loss, correct) = _gradients(
    state,
    examples,
    dropout_key,
    model,
    config.train.accumulate_steps,
    config.model.num_members,
  )
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  next_state = dataclasses.replace(
    state,
    step=state.step + 1,
    params=params,
    batch_stats=batch_stats,
    opt_state=opt_state,
    ema_params=_averaged(state, params, config.train.ema_decay),
  )
  count = mask.sum().astype(jnp.float32)
  grad_norm, update_norm = map(optax.tree_utils.tree_norm, (grads, updates))
  is_finite = jnp.isfinite(jnp.stack([loss, grad_norm, update_norm])).all()
  return next_state, WindowSums(
    loss * count,
    correct,
    count,
    grad_norm,
    update_norm,
    num_steps=jnp.ones((), jnp.float32),
    failed_step=jnp.where(is_finite, NO_STEP, next_state.step),
  )


def _gradients(
  state: TrainState,
  examples: dict[str, jax.Array],
  key: jax.Array,
  model: nn.Module,
  num_parts: int,
  num_members: int,
) -> tuple[PyTree, PyTree, tuple[jax.Array, jax.Array]]:
  """Returns gradients, new batch_stats, and (loss, number of correct windows).

  Args:
    state: the gradients are with respect to its `params`.
    examples: windows f32[B, W, T, F], targets f32[B, C], weights f32[B, W],
      label i32[B], mask bool[B, W]; own_genres bool[B, C] if there are any.
    key: for dropout.
    model: static argument.
    num_parts: the batch is computed in this many parts, one after another, so
      that only one part's activations are in memory. Batch normalisation and
      dropout act on each part separately.
    num_members: members of the model; each has its rows in every part.
  """

  def loss_fn(
    params: PyTree, batch_stats: PyTree, part: PyTree, key: jax.Array
  ) -> tuple[jax.Array, tuple[PyTree, jax.Array]]:
    """Returns the loss f32[], and (new batch_stats, correct windows)."""
    logits, changed = model.apply(
      {'params': params, 'batch_stats': batch_stats},
      part['windows'],
      train=True,
      mutable=['batch_stats'],
      rngs={'dropout': key},
    )
    own_genres = part.get('own_genres')
    losses = optax.softmax_cross_entropy(
      logits,
      part['targets'][:, None],
      where=None if own_genres is None else own_genres[:, None],
    )
    hits = (logits.argmax(-1) == part['label'][:, None]) & part['mask']
    correct = hits.sum().astype(jnp.float32)
    loss = (losses * part['weights']).sum()
    return loss, (changed.get('batch_stats', {}), correct)

  def of_part(
    batch_stats: PyTree, part: PyTree, key: jax.Array
  ) -> tuple[PyTree, PyTree]:
    """Returns new batch_stats, and (gradients, loss, correct) to be summed."""
    (loss, (batch_stats, correct)), grads = jax.value_and_grad(
      loss_fn, has_aux=True
    )(state.params, batch_stats, part, key)
    return batch_stats, (grads, loss, correct)

  if num_parts == 1:
    batch_stats, (grads, *sums) = of_part(state.batch_stats, examples, key)
    return grads, batch_stats, tuple(sums)

  def add_part(carry: PyTree, part: PyTree) -> tuple[PyTree, None]:
    batch_stats, sums = carry
    part_key = jax.random.fold_in(key, part.pop('number'))
    batch_stats, found = of_part(batch_stats, part, part_key)
    return (batch_stats, jax.tree.map(jnp.add, sums, found)), None

  parts = jax.tree.map(lambda x: _parts(x, num_parts, num_members), examples)
  parts['number'] = jnp.arange(num_parts)
  zeros = jax.tree.map(jnp.zeros_like, state.params)
  nothing = (zeros, jnp.zeros(()), jnp.zeros(()))
  # On CPU a loop with convolutions is slow, and memory is plentiful.
  unroll = num_parts if jax.default_backend() == 'cpu' else 1
  (batch_stats, (grads, *sums)), _ = jax.lax.scan(
    add_part, (state.batch_stats, nothing), parts, unroll=unroll
  )
  return grads, batch_stats, tuple(sums)


def _parts(x: jax.Array, num_parts: int, num_members: int) -> jax.Array:
  """Turns [B, ...] into [parts, B / parts, ...]; rows stay on their device.

  Row b belongs to member b % M, in a part as in the batch.
  """
  rest = x.shape[1:]
  x = x.reshape(-1, num_parts, num_members, *rest).swapaxes(0, 1)
  return x.reshape(num_parts, -1, *rest)


def training_windows(
  key: jax.Array,
  state: TrainState,
  batch: dict[str, jax.Array],
  config: Config,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Cuts, augments and standardises the windows of a batch.

  A limited range is a property of the recording, so it is part of the
  statistics of excerpts and windows. The other augmentations act on what these
  statistics leave.

  Args:
    key: random key.
    state: its `band_mean` and `band_std` standardise, if the config says so.
    batch: see `train_step`.
    config: the whole configuration.

  Returns:
    windows f32[B, W, T, F], mask bool[B, W] of real windows, and targets
    f32[B, C].
  """
  crop_key, gain_key, augment_key, speed_key, filter_key, shift_key = (
    jax.random.split(key, 6)
  )
  range_key = jax.random.fold_in(key, 6)  # `split` is `fold_in` of 0 to 5
  settings, augment = config.windows, config.augment
  frames, num_frames = batch['frames'], batch['num_frames']
  if augment.low_pass_bands or augment.floor_db:
    frames = random_range(
      range_key,
      frames[:, None].astype(jnp.float32),
      augment.low_pass_bands,
      augment.floor_db,
    )[:, 0]
  how = settings.standardise
  stats = frame_stats(how, frames, num_frames, state.band_mean, state.band_std)
  speed = random_speed(speed_key, len(frames), augment.max_speed)
  if speed is not None:
    num_frames = stretched(num_frames, speed)
  if augment.crop == 'scattered':
    starts, mask = scattered_starts(
      crop_key, num_frames, settings.num_windows, settings.num_frames
    )
  else:
    starts, mask = random_starts(
      crop_key,
      num_frames,
      _num_windows(frames.shape[1], settings),
      settings.num_frames,
      settings.hop_frames,
      shift=augment.crop == 'shifted',
    )
  windows = cut(frames, starts, settings.num_frames, speed)
  if how == 'window':
    stats = window_stats(windows, starts, num_frames)
  windows = random_shift(shift_key, windows, augment.max_shift_bands)
  windows = gain(gain_key, windows, augment.gain_db)
  windows = random_filter(filter_key, windows, augment.filter_db)
  windows = standardise(windows, starts, num_frames, *stats)
  targets = jax.nn.one_hot(batch['label'], config.model.num_genres)
  windows, targets = augment_windows(augment_key, windows, targets, augment)
  targets = _smoothed(
    targets, config.train.label_smoothing, batch.get('own_genres')
  )
  return windows, mask, targets


def _smoothed(
  targets: jax.Array, share: float, own_genres: jax.Array | None
) -> jax.Array:
  """Spreads a share of each target over the genres that its loss compares.

  Args:
    targets: f32[B, C], probabilities of the genres.
    share: how much is spread, from 0 to 1.
    own_genres: bool[B, C], the genres that are compared; None: all.

  Returns:
    f32[B, C].
  """
  if own_genres is None:
    return optax.smooth_labels(targets, share)
  spread = own_genres / own_genres.sum(axis=-1, keepdims=True)
  return (1.0 - share) * targets + share * spread


def _num_windows(num_frames: int, settings: WindowsConfig) -> int:
  """Returns how many windows fit into the longest excerpt, at most W."""
  room = max(0, num_frames - settings.num_frames)
  return min(settings.num_windows, 1 + room // settings.hop_frames)


def _averaged(state: TrainState, params: PyTree, decay: float) -> PyTree:
  """Returns the exponential moving average of the weights, if it is kept."""
  if state.ema_params is None:
    return None
  # A smaller decay at first, so that the initial weights are soon forgotten.
  step = state.step.astype(jnp.float32)
  kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return optax.incremental_update(params, state.ema_params, 1.0 - kept)
