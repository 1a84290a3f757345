"""The CNN: every window alone."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mgc_jax.models.layers import ConvStack, Head


class Cnn(nn.Module):
  """Blocks of convolution, max-pool and dropout, then dense layers.

  `mgc_jax.config.schema` documents the fields: those that start with `dense`
  in `DenseConfig`, the others in `CnnConfig`.
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
  dense_sizes: tuple[int, ...] = (64,)
  dense_dropout: tuple[float, ...] = (0.25,)
  dense_activation: str = 'relu'
  freeze_backbone: bool = False  # `TrainConfig` documents it
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits."""
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
    )(windows, train and not self.freeze_backbone)
    x = x.reshape(*x.shape[:2], -1)
    if self.freeze_backbone:
      x = jax.lax.stop_gradient(x)
    return Head(
      num_genres=self.num_genres,
      sizes=self.dense_sizes,
      dropout=self.dense_dropout,
      activation=self.dense_activation,
      dtype=self.dtype,
    )(x, train)
