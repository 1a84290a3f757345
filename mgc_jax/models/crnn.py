"""The CRNN: a CNN sees each window, an LSTM scans what it leaves of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from mgc_jax.models.cpu.lstm_vjp import scan_windows
from mgc_jax.models.layers import ConvStack, Head


class Crnn(nn.Module):
  """The CNN's blocks on each window, an LSTM over what is left, dense layers.

  `cnn.readout` says what of a window the LSTM scans: the steps that pooling
  leaves of it, or one vector; `lstm.stateful` whether it goes on from a window
  to the next.
  """

  settings: FrozenConfigDict  # config.model
  dtype: Any = jnp.float32
  frozen_body: bool = False  # config.train.freeze_body

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits, causally in W."""
    settings = self.settings
    body_train = train and not self.frozen_body
    x = ConvStack(settings.cnn, self.dtype)(windows, body_train)
    x = scan_windows(settings.lstm, self.dtype, x, body_train)
    if self.frozen_body:
      x = jax.lax.stop_gradient(x)
    return Head(settings.num_genres, settings.dense, self.dtype)(x, train)
