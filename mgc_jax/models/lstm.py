"""The LSTM: scans the frames of an excerpt, window by window."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mgc_jax.models.cpu.dropout import Dropout
from mgc_jax.models.cpu.lstm_vjp import scan_windows, stack_steps
from mgc_jax.models.layers import NORM_MOMENTUM, Head


class Lstm(nn.Module):
  """An LSTM over the frames of an excerpt's windows, then dense layers.

  `mgc_jax.config.schema` documents the fields: those that start with `dense`
  in `DenseConfig`, the others in `LstmConfig`.
  """

  num_genres: int
  hidden_size: int = 128
  stack_frames: int = 4
  deltas: bool = False
  bands_as_steps: bool = False
  encoder_size: int = 0
  encoder_dropout: float = 0.0
  stateful: bool = True
  bidirectional: bool = False
  input_dropout: float = 0.0
  recurrent_dropout: float = 0.0
  output_dropout: float = 0.5
  readout: str = 'mean_max'
  dense_sizes: tuple[int, ...] = (64,)
  dense_dropout: tuple[float, ...] = (0.25,)
  dense_activation: str = 'relu'
  freeze_backbone: bool = False  # `TrainConfig` documents it
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits, causally in W."""
    backbone_train = train and not self.freeze_backbone
    if self.deltas:
      windows = with_deltas(windows)
    if self.bands_as_steps:
      steps = windows.swapaxes(2, 3)
    else:
      steps = stack_steps(windows, self.stack_frames)
    if self.encoder_size:
      steps = StepEncoder(self.encoder_size, self.encoder_dropout, self.dtype)(
        steps, backbone_train
      )
    x = scan_windows(
      steps,
      backbone_train,
      stateful=self.stateful,
      bidirectional=self.bidirectional,
      hidden_size=self.hidden_size,
      input_dropout=self.input_dropout,
      recurrent_dropout=self.recurrent_dropout,
      output_dropout=self.output_dropout,
      readout=self.readout,
      dtype=self.dtype,
    )
    if self.freeze_backbone:
      x = jax.lax.stop_gradient(x)
    return Head(
      num_genres=self.num_genres,
      sizes=self.dense_sizes,
      dropout=self.dense_dropout,
      activation=self.dense_activation,
      dtype=self.dtype,
    )(x, train)


def with_deltas(windows: jax.Array) -> jax.Array:
  """Appends to each frame its difference from the previous frame.

  Args:
    windows: f[B, W, T, F].

  Returns:
    f[B, W, T, 2 F]; the differences of the first frame of a window are zero.
  """
  before = jnp.concatenate([windows[:, :, :1], windows[:, :, :-1]], axis=2)
  return jnp.concatenate([windows, windows - before], axis=-1)


class StepEncoder(nn.Module):
  """A dense layer on each step, with batch norm, ReLU and dropout."""

  size: int
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, steps: jax.Array, train: bool) -> jax.Array:
    """Maps f[B, W, S, D] to f[B, W, S, size]."""
    x = nn.Dense(self.size, use_bias=False, dtype=self.dtype)(steps)
    x = nn.BatchNorm(
      use_running_average=not train, momentum=NORM_MOMENTUM, dtype=self.dtype
    )(x)
    return Dropout(self.dropout, deterministic=not train)(nn.relu(x))
