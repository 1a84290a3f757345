"""Layers that the three models share."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mgc_jax.models.cpu.convolution import max_pool
from mgc_jax.models.cpu.dropout import Dropout
from mgc_jax.models.cpu.pooled_convolution import conv_max_pool
from mgc_jax.system.errors import ConfigError

Dtype = Any


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """Returns an activation of flax.linen by name: relu, elu, gelu, ..."""
  return elu if name == 'elu' else getattr(nn, name)


@jax.custom_jvp
def elu(x: jax.Array) -> jax.Array:
  """Exponential linear unit (Clevert et al. 2015) of f[...].

  Equal to `nn.elu` within 1e-7. It uses an exponential instead of `expm1`,
  which takes twice the time on CPU; the gradient is computed from the result.
  """
  negative = jnp.exp(jnp.minimum(x, 0).astype(jnp.float32)) - 1
  return jnp.where(x > 0, x, negative.astype(x.dtype))


@elu.defjvp
def _elu_jvp(
  primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
  y = elu(*primals)
  return y, tangents[0] * jnp.where(y > 0, 1, y + 1)


# Monotonically increasing: the max-pool can come first, with the same values
# and gradients from a quarter of the elements.
_MONOTONE = ('relu', 'elu', 'tanh')

NORM_MOMENTUM = 0.9  # decay of the running averages of batch norm

INTERMEDIATES = 'intermediates'  # collection that `Head` writes embeddings to


class Conv(nn.Module):
  """Convolution of feature maps with the batch last, then max-pool."""

  num_filters: int
  kernel_size: int
  padding: str
  use_bias: bool
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, pool: tuple[int, int]) -> jax.Array:
    """Maps f[C, T, F, B] to f[num_filters, T', F', B]."""
    size = (self.kernel_size, self.kernel_size)
    shape = (*size, len(x), self.num_filters)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    x = conv_max_pool(x, kernel.astype(self.dtype), self.padding, pool)
    if not self.use_bias:
      return x
    bias = self.param('bias', nn.initializers.zeros, (self.num_filters,))
    return x + bias.astype(self.dtype)[:, None, None, None]


class ConvBlock(nn.Module):
  """Convolution, batch norm, activation, max-pool, dropout.

  The max-pool comes before the batch norm if `norm` is `batch_after_pool`.
  """

  num_filters: int
  pool: tuple[int, int]  # over frames and bands
  dropout: float = 0.0
  kernel_size: int = 3
  padding: str = 'SAME'
  activation: str = 'relu'
  norm: str = 'batch'
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Maps f[C, T, F, B] to f[num_filters, T', F', B]."""
    normed = self.norm != 'none'
    # The earlier the max-pool, the less work for what follows.
    monotone = self.activation in _MONOTONE
    pooled = self.norm == 'batch_after_pool' or (monotone and not normed)
    x = Conv(
      self.num_filters,
      self.kernel_size,
      self.padding,
      not normed,
      self.dtype,
    )(x, self.pool if pooled else (1, 1))
    if normed:
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=NORM_MOMENTUM,
        axis=0,
        dtype=self.dtype,
      )(x)
    if monotone and not pooled:
      x = max_pool(x, self.pool)
    x = activation(self.activation)(x)
    if not monotone and not pooled:
      x = max_pool(x, self.pool)
    return Dropout(self.dropout, deterministic=not train)(x)


class ConvStack(nn.Module):
  """All convolution blocks and the readout: a window becomes vectors.

  `CnnConfig` in `mgc_jax.config.schema` documents the fields.
  """

  filters: tuple[int, ...]
  pool_frames: tuple[int, ...]
  pool_bands: tuple[int, ...]
  dropout: tuple[float, ...]
  stack_frames: int = 1
  stack_bands: int = 1
  kernel_size: int = 3
  padding: str = 'SAME'
  activation: str = 'relu'
  norm: str = 'batch'
  readout: str = 'mean_max'
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool) -> jax.Array:
    """Maps each window alone.

    Args:
      windows: f32[B, W, T, F].
      train: Whether dropout is on and batch norm uses the batch's statistics.

    Returns:
      f[B, W, S, D], S vectors of each window. S is the number of time steps
      left after pooling for the readouts `steps` and `step_means`, otherwise 1.
    """
    batch, num_windows = windows.shape[:2]
    x = windows.reshape(-1, *windows.shape[2:]).astype(self.dtype)
    x = _stack(x, self.stack_frames, self.stack_bands)
    pools = list(zip(self.pool_frames, self.pool_bands, strict=True))
    self._check_pools(pools, x.shape[1:3], windows.shape[2:])
    for num_filters, pool, rate in zip(
      self.filters, pools, self.dropout, strict=True
    ):
      x = ConvBlock(
        num_filters=num_filters,
        pool=pool,
        dropout=rate,
        kernel_size=self.kernel_size,
        padding=self.padding,
        activation=self.activation,
        norm=self.norm,
        dtype=self.dtype,
      )(x, train)
    x = read_out_map(x.transpose(3, 1, 2, 0), self.readout)
    return x.reshape(batch, num_windows, *x.shape[1:])

  def _check_pools(
    self,
    pools: list[tuple[int, int]],
    size: tuple[int, ...],
    window: tuple[int, ...],
  ) -> None:
    """Raises `ConfigError` if the blocks reduce a window to nothing.

    Args:
      pools: Max-pool over frames and bands, for each block.
      size: Frames and bands of the first block's input.
      window: Frames and bands of a window, for the message.
    """
    cut = self.kernel_size - 1 if self.padding == 'VALID' else 0
    for pool in pools:
      size = tuple((n - cut) // p for n, p in zip(size, pool, strict=True))
      if min(size) < 1:
        raise ConfigError(
          'config.model.cnn: pools and padding leave nothing of a window of '
          f'{window} (frames, bands)'
        )


class Head(nn.Module):
  """Dense layers to the genres."""

  num_genres: int
  sizes: tuple[int, ...] = (64,)
  dropout: tuple[float, ...] = (0.25,)
  activation: str = 'relu'
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Maps f[B, W, D] to f32[B, W, C] logits."""
    for size, rate in zip(self.sizes, self.dropout, strict=True):
      x = activation(self.activation)(nn.Dense(size, dtype=self.dtype)(x))
      x = Dropout(rate, deterministic=not train)(x)
    self.sow(INTERMEDIATES, 'embedding', x)
    return nn.Dense(self.num_genres, dtype=self.dtype)(x).astype(jnp.float32)


def read_out_map(x: jax.Array, how: str) -> jax.Array:
  """Turns f[B, T', F', channels] into f[B, S, D]; see `CnnConfig.readout`."""
  if how == 'flatten':
    return x.reshape(x.shape[0], 1, -1)
  if how == 'steps':
    return x.reshape(*x.shape[:2], -1)
  over_bands = x.mean(axis=2)
  if how == 'step_means':
    return over_bands
  mean = over_bands.mean(axis=1, keepdims=True)
  if how == 'mean':
    return mean
  return jnp.concatenate([mean, over_bands.max(axis=1, keepdims=True)], axis=-1)


def _stack(x: jax.Array, frames: int, bands: int) -> jax.Array:
  """Turns f[B, T, F] into f[frames x bands, T/frames, F/bands, B].

  Frames and bands that do not fill a stack are cut off.
  """
  batch, num_frames, num_bands = x.shape
  t, f = num_frames // frames, num_bands // bands
  x = x[:, : t * frames, : f * bands].reshape(batch, t, frames, f, bands)
  return x.transpose(2, 4, 1, 3, 0).reshape(frames * bands, t, f, batch)
