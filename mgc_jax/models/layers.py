"""What the three models are built from."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from mgc_jax.models.cpu.convolution import is_native, max_pool
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

  As `nn.elu` to 1e-7, by an exponential in place of `expm1`, which takes twice
  the time on CPU; the gradient is made from the result.
  """
  negative = jnp.exp(jnp.minimum(x, 0).astype(jnp.float32)) - 1
  return jnp.where(x > 0, x, negative.astype(x.dtype))


@elu.defjvp
def _elu_jvp(
  primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
  y = elu(*primals)
  return y, tangents[0] * jnp.where(y > 0, 1, y + 1)


# Grow with their argument, so that the maximum can be taken first: the same
# values and gradients, of a quarter of the elements.
_MONOTONE = ('relu', 'elu', 'tanh')

NORM_MOMENTUM = 0.9  # of the averages: what a step leaves of them

INTERMEDIATES = 'intermediates'  # collection of what is sown on the way

_WINDOWS_AT_ONCE = 32  # on CPU; docs/PERFORMANCE.md
_MAX_PARTS = 8


class Conv(nn.Module):
  """Convolution of feature maps with the batch last; see `convolution`."""

  num_filters: int
  kernel_size: int
  padding: str
  use_bias: bool
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, pool: tuple[int, int]) -> jax.Array:
    """Maps f[C, T, F, B] to f[num_filters, T', F', B], pooled by maximum."""
    size = (self.kernel_size, self.kernel_size)
    shape = (*size, len(x), self.num_filters)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    x = conv_max_pool(x, kernel.astype(self.dtype), self.padding, pool)
    if not self.use_bias:
      return x
    bias = self.param('bias', nn.initializers.zeros, (self.num_filters,))
    return x + bias.astype(self.dtype)[:, None, None, None]


class ConvBlock(nn.Module):
  """Convolution, normalisation, activation, max-pool, dropout.

  The max-pool comes before the normalisation where `config.model.cnn.norm` is
  batch_after_pool.
  """

  num_filters: int
  pool: tuple[int, int]
  dropout: float
  settings: FrozenConfigDict  # config.model.cnn
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Maps f[C, T, F, B] to f[num_filters, T', F', B]."""
    settings = self.settings
    normed = settings.norm != 'none'
    # The earlier the maximum is taken, the less is left to do.
    monotone = settings.activation in _MONOTONE
    pooled = settings.norm == 'batch_after_pool' or (monotone and not normed)
    x = Conv(
      self.num_filters,
      settings.kernel_size,
      settings.padding,
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
    x = activation(settings.activation)(x)
    if not monotone and not pooled:
      x = max_pool(x, self.pool)
    return Dropout(self.dropout, deterministic=not train)(x)


class ConvStack(nn.Module):
  """All blocks, then the read-out: a window becomes vectors."""

  settings: FrozenConfigDict  # config.model.cnn
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool) -> jax.Array:
    """Maps each window alone.

    Args:
      windows: f32[B, W, T, F].
      train: whether dropout acts and batches are normalised by themselves.

    Returns:
      f[B, W, S, D]: S vectors of each window; S = 1 but for read-outs `steps`
      and `step_means`, where it is the number of time steps left after pooling.
    """
    settings = self.settings
    batch, num_windows = windows.shape[:2]
    x = windows.reshape(-1, *windows.shape[2:]).astype(self.dtype)
    x = _fold(x, settings.fold_frames, settings.fold_bands)
    pools = zip(settings.pool_frames, settings.pool_bands, strict=True)
    blocks = [
      ConvBlock(num_filters, pool, rate, settings, self.dtype)
      for num_filters, pool, rate in zip(
        settings.filters, pools, settings.dropout, strict=True
      )
    ]
    _check_pools(settings, x.shape[1:3], windows.shape[2:])
    vectors = []
    for part in _parts(x, train and settings.norm != 'none'):
      for block in blocks:
        part = block(part, train)
      part = part.transpose(3, 1, 2, 0)
      vectors.append(read_out_map(part, settings.readout))
    x = jnp.concatenate(vectors)
    return x.reshape(batch, num_windows, *x.shape[1:])


def _parts(x: jax.Array, normed: bool) -> list[jax.Array]:
  """Divides f[C, T, F, B] by windows into what goes through the blocks at once.

  On CPU smaller maps are cheaper. Batches are normalised as a whole, several
  devices have parts already, and every part makes the program longer.
  """
  if is_native() or normed or jax.device_count() > 1:
    return [x]
  num_windows = x.shape[-1]
  size = max(_WINDOWS_AT_ONCE, -(-num_windows // _MAX_PARTS))
  return [x[..., i : i + size] for i in range(0, num_windows, size)]


def _check_pools(
  settings: FrozenConfigDict, size: tuple[int, ...], window: tuple[int, ...]
) -> None:
  """Raises `ConfigError` where the blocks leave nothing of a window.

  Args:
    settings: `config.model.cnn`.
    size: frames and bands after folding.
    window: before it; for the message.
  """
  cut = settings.kernel_size - 1 if settings.padding == 'VALID' else 0
  for pool in zip(settings.pool_frames, settings.pool_bands, strict=True):
    size = tuple((n - cut) // p for n, p in zip(size, pool, strict=True))
    if min(size) < 1:
      raise ConfigError(
        f'config.model.cnn: pools and padding leave nothing of a window of '
        f'{window} (frames, bands)'
      )


class Head(nn.Module):
  """Dense layers to the genres."""

  num_genres: int
  settings: FrozenConfigDict  # config.model.dense
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Maps f[B, W, D] to f32[B, W, C] logits."""
    settings = self.settings
    for size, rate in zip(settings.sizes, settings.dropout, strict=True):
      x = activation(settings.activation)(nn.Dense(size, dtype=self.dtype)(x))
      x = Dropout(rate, deterministic=not train)(x)
    self.sow(INTERMEDIATES, 'embedding', x)
    return nn.Dense(self.num_genres, dtype=self.dtype)(x).astype(jnp.float32)


def read_out_map(x: jax.Array, how: str) -> jax.Array:
  """Turns f[B, T', F', channels] into f[B, S, D]; see config.model.cnn."""
  if how == 'flatten':
    return x.reshape(len(x), 1, -1)
  if how == 'steps':
    return x.reshape(*x.shape[:2], -1)
  over_bands = x.mean(axis=2)
  if how == 'step_means':
    return over_bands
  mean = over_bands.mean(axis=1, keepdims=True)
  if how == 'mean':
    return mean
  return jnp.concatenate([mean, over_bands.max(axis=1, keepdims=True)], axis=-1)


def _fold(x: jax.Array, frames: int, bands: int) -> jax.Array:
  """Turns f[B, T, F] into f[frames x bands, T/frames, F/bands, B] (cut)."""
  batch, num_frames, num_bands = x.shape
  t, f = num_frames // frames, num_bands // bands
  x = x[:, : t * frames, : f * bands].reshape(batch, t, frames, f, bands)
  return x.transpose(2, 4, 1, 3, 0).reshape(frames * bands, t, f, batch)
