"""The LSTM: scans time, within windows or on from one to the next."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from mgc_jax.models.cpu.dropout import Dropout
from mgc_jax.models.cpu.lstm_vjp import fold_steps, scan_windows
from mgc_jax.models.layers import NORM_MOMENTUM, Head


class Lstm(nn.Module):
  """An LSTM over the frames of an excerpt's windows, then dense layers."""

  settings: FrozenConfigDict  # config.model
  dtype: Any = jnp.float32
  frozen_body: bool = False  # config.train.freeze_body

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits, causally in W."""
    settings = self.settings
    body_train = train and not self.frozen_body
    if settings.lstm.differences:
      windows = with_differences(windows)
    if settings.lstm.bands_as_steps:
      steps = windows.swapaxes(2, 3)
    else:
      steps = fold_steps(windows, settings.lstm.frames_per_step)
    if settings.lstm.encoder_size:
      steps = StepEncoder(settings.lstm, self.dtype)(steps, body_train)
    x = scan_windows(settings.lstm, self.dtype, steps, body_train)
    if self.frozen_body:
      x = jax.lax.stop_gradient(x)
    return Head(settings.num_genres, settings.dense, self.dtype)(x, train)


def with_differences(windows: jax.Array) -> jax.Array:
  """Turns f[B, W, T, F] into f[B, W, T, 2 F]: and each less the frame before.

  The first frame of a window has differences of zero.
  """
  before = jnp.concatenate([windows[:, :, :1], windows[:, :, :-1]], axis=2)
  return jnp.concatenate([windows, windows - before], axis=-1)


class StepEncoder(nn.Module):
  """A dense layer on each step, normalised over the batch, and a rectifier."""

  settings: FrozenConfigDict  # config.model.lstm
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, steps: jax.Array, train: bool) -> jax.Array:
    """Maps f[B, W, S, D] to f[B, W, S, encoder_size]."""
    settings = self.settings
    x = nn.Dense(settings.encoder_size, use_bias=False, dtype=self.dtype)(steps)
    x = nn.BatchNorm(
      use_running_average=not train, momentum=NORM_MOMENTUM, dtype=self.dtype
    )(x)
    rate = settings.encoder_dropout
    return Dropout(rate, deterministic=not train)(nn.relu(x))
