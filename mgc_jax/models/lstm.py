"""The LSTM: scans time, and hands its state from a window to the next."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from mgc_jax.models.layers import Head
from mgc_jax.models.recurrence import WindowLstm, fold_steps


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
    if settings.lstm.bands_as_steps:
      steps = windows.swapaxes(2, 3)
    else:
      steps = fold_steps(windows, settings.lstm.frames_per_step)
    x = WindowLstm(settings.lstm, self.dtype)(steps, body_train)
    if self.frozen_body:
      x = jax.lax.stop_gradient(x)
    return Head(settings.num_genres, settings.dense, self.dtype)(x, train)
