"""The CRNN: a CNN sees each window, an LSTM scans the result."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mgc_jax.models.cpu.lstm_vjp import scan_windows
from mgc_jax.models.layers import ConvStack, Head


class Crnn(nn.Module):
  """The blocks of the CNN on each window, then an LSTM, then dense layers.

  `readout` says what of a window the LSTM scans: the time steps left after
  pooling, or a single vector. `mgc_jax.config.schema` documents the fields:
  those that start with `dense` in `DenseConfig`, those that start with `lstm`
  in `LstmConfig`, the others in `CnnConfig`.
  """

  num_genres: int
  filters: tuple[int, ...] = (32, 64, 96, 128, 128)
  pool_frames: tuple[int, ...] = (2, 2, 2, 2, 1)
  pool_bands: tuple[int, ...] = (2, 2, 2, 2, 2)
  dropout: tuple[float, ...] = (0.0, 0.1, 0.1, 0.1, 0.1)
  stack_frames: int = 1
  stack_bands: int = 1
  kernel_size: int = 3
  padding: str = 'SAME'
  activation: str = 'relu'
  norm: str = 'batch'
  readout: str = 'mean_max'
  lstm_hidden_size: int = 128
  lstm_stateful: bool = True
  lstm_bidirectional: bool = False
  lstm_input_dropout: float = 0.0
  lstm_recurrent_dropout: float = 0.0
  lstm_output_dropout: float = 0.5
  lstm_readout: str = 'mean_max'
  dense_sizes: tuple[int, ...] = (64,)
  dense_dropout: tuple[float, ...] = (0.25,)
  dense_activation: str = 'relu'
  freeze_backbone: bool = False  # `TrainConfig` documents it
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits, causally in W."""
    backbone_train = train and not self.freeze_backbone
    x = ConvStack(
      filters=self.filters,
      pool_frames=self.pool_frames,
      pool_bands=self.pool_bands,
      dropout=self.dropout,
      stack_frames=self.stack_frames,
      stack_bands=self.stack_bands,
      kernel_size=self.kernel_size,
      padding=self.padding,
      activation=self.activation,
      norm=self.norm,
      readout=self.readout,
      dtype=self.dtype,
    )(windows, backbone_train)
    x = scan_windows(
      x,
      backbone_train,
      stateful=self.lstm_stateful,
      bidirectional=self.lstm_bidirectional,
      hidden_size=self.lstm_hidden_size,
      input_dropout=self.lstm_input_dropout,
      recurrent_dropout=self.lstm_recurrent_dropout,
      output_dropout=self.lstm_output_dropout,
      readout=self.lstm_readout,
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
