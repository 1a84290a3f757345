"""musicnn (Pons and Serra 2019): tags and features of 3 s of music.

The front end has filters over almost all bands (timbre) and filters over time
alone (rhythm), each followed by a maximum over the bands. The mid-end has three
convolutions over time with residual connections. The back end takes maximum and
mean over time of all of them. Maps are f[C, T, F, B], the batch last.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mgc_jax.models.cpu.convolution import (
  conv,
  is_native,
  max_pool,
  product,
)
from mgc_jax.models.cpu.dropout import Dropout

PyTree = Any

# Frames and bands that a filter of each part of the front end sees.
FRONT_KERNELS = ((7, 38), (7, 67), (128, 1), (64, 1), (32, 1))

NUM_TAGS = 50
NORM_EPSILON = 1e-3

_FRONT_FILTERS = (204, 204, 51, 51, 51)
# The filters of the package's weights that are not zero.
PRUNED_FRONT_FILTERS = (24, 14, 3, 7, 17)
_MID_FILTERS = 64
_MID_FRAMES = 7
_NUM_FEATURES = 200
_DROPOUT = 0.5
_MOMENTUM = 0.99  # of the batch normalisation's averages


class Grid(NamedTuple):
  """Overlapping windows of a track, the first from its first frame on."""

  num_frames: int  # of a window
  hop_frames: int  # from the start of a window to the start of the next


class Output(NamedTuple):
  """The output of the network for N windows."""

  tags: jax.Array  # f32[N, 50] probabilities, which do not add up to 1
  features: jax.Array  # f32[N, 200]


class Musicnn(nn.Module):
  """The whole network, or what `prune` leaves of its front end.

  Attributes:
    front_filters: the number of filters for each of `FRONT_KERNELS`.
    grid: if set, the input is a track. The outputs are those of its windows,
      but what these have in common is computed once. Not for training.
  """

  front_filters: tuple[int, ...] = _FRONT_FILTERS
  grid: Grid | None = None

  @nn.compact
  def __call__(self, log_mels: jax.Array, train: bool = False) -> Output:
    """Maps each window alone.

    Args:
      log_mels: f32[N, T, F], see `audio.musicnn_mel`; with a grid f32[L, F],
        the frames of N windows.
      train: whether dropout acts (by an rng named `dropout`), and batches are
        normalised by their own statistics.
    """
    features = features_of(log_mels, self.front_filters, train, self.grid)
    x = Dropout(_DROPOUT, deterministic=not train)(features)
    return Output(nn.sigmoid(nn.Dense(NUM_TAGS, name='tags')(x)), features)


def features_of(
  log_mels: jax.Array,
  front_filters: tuple[int, ...],
  train: bool,
  grid: Grid | None = None,
) -> jax.Array:
  """Returns f32[N, 200] features; its layers are those of the calling module.

  Args:
    log_mels: as for `Musicnn`.
    front_filters: as for `Musicnn`.
    train: as for `Musicnn`.
    grid: as for `Musicnn`.
  """
  norm = functools.partial(_norm, train)
  windows = log_mels[None] if grid else log_mels
  x = norm('input_norm', 0)(windows.transpose(1, 2, 0)[None])
  parts = [
    _FrontEnd(filters, kernel, train, grid, name=f'front_{i}')(x)
    for i, (filters, kernel) in enumerate(
      zip(front_filters, FRONT_KERNELS, strict=True)
    )
  ]
  x = jnp.concatenate(parts)
  maps = [x]
  for i in range(3):
    y = _MidEnd(train, name=f'mid_{i}')(x)
    x = y + x if i else y
    maps.append(x)
  x = jnp.concatenate(maps)[:, :, 0]
  # A channel's maximum comes next to its mean, as in the checkpoint.
  x = jnp.stack([x.max(axis=1), x.mean(axis=1)], axis=1)
  x = norm('pool_norm', 1)(x.reshape(-1, x.shape[-1]).T)
  x = Dropout(_DROPOUT, deterministic=not train)(x)
  x = nn.relu(nn.Dense(_NUM_FEATURES, name='features')(x))
  return norm('features_norm', 1)(x)


def _norm(train: bool, name: str, axis: int) -> nn.BatchNorm:
  return nn.BatchNorm(
    use_running_average=not train,
    momentum=_MOMENTUM,
    epsilon=NORM_EPSILON,
    axis=axis,
    name=name,
  )


class _FrontEnd(nn.Module):
  """Filters of one size, and their maximum over the bands."""

  num_filters: int
  kernel_size: tuple[int, int]
  train: bool
  grid: Grid | None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps f[1, T, F, B] to f[num_filters, T, 1, B]; a track to its windows."""
    shape = (*self.kernel_size, 1, self.num_filters)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    bias = self.param('bias', nn.initializers.zeros, (self.num_filters,))
    norm = _norm(self.train, 'norm', 0)
    before, after = (len(kernel) - 1) // 2, len(kernel) // 2

    def maxima(x: jax.Array, before: int, after: int) -> jax.Array:
      """Convolves, padded with zeros in time, and pools."""
      x = _front_conv(x, kernel, before, after) + bias[:, None, None, None]
      x = norm(nn.relu(x))
      return max_pool(x, (1, x.shape[2]))

    if not self.grid:
      return maxima(x, before, after)
    windows = _windows(x, self.grid)
    if kernel.shape[1] == 1:  # filters as long as the window
      return maxima(windows, before, after)
    # Only at their ends, where they are padded, do windows differ from a track.
    num_frames, num_end = self.grid.num_frames, len(kernel) - 1
    start = maxima(windows[:, :num_end], before, 0)
    end = maxima(windows[:, num_frames - num_end :], 0, after)
    inside = maxima(_neighbourhoods(x, len(kernel)), 0, 0).swapaxes(1, 3)
    grid = Grid(num_frames - num_end, self.grid.hop_frames)
    return jnp.concatenate([start, _windows(inside, grid), end], axis=1)


def _neighbourhoods(x: jax.Array, size: int) -> jax.Array:
  """Maps f[1, L, F, 1] to f[1, size, F, L - size + 1].

  The frames of the track become a batch, over which vector instructions run.
  """
  x = x[0, :, :, 0].T
  length = x.shape[1] - size + 1
  return jnp.stack([x[:, i : i + length] for i in range(size)])[None]


def _windows(x: jax.Array, grid: Grid) -> jax.Array:
  """Returns f[C, T, F, B], the windows of f[C, L, F, 1]."""
  num_frames, hop_frames = grid
  starts = range(0, x.shape[1] - num_frames + 1, hop_frames)
  return jnp.concatenate([x[:, i : i + num_frames] for i in starts], axis=-1)


class _MidEnd(nn.Module):
  """A convolution over time that keeps the number of frames."""

  train: bool

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps f[C, T, 1, B] to f[64, T, 1, B]."""
    shape = (_MID_FRAMES, 1, len(x), _MID_FILTERS)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    bias = self.param('bias', nn.initializers.zeros, (_MID_FILTERS,))
    x = conv(x, kernel, 'SAME') + bias[:, None, None, None]
    return _norm(self.train, 'norm', 0)(nn.relu(x))


def _front_conv(
  x: jax.Array, kernel: jax.Array, before: int, after: int
) -> jax.Array:
  """Convolves, padded with zeros in time only.

  On CPU this is one matrix product: with so few bands and frames, the zeros of
  a kernel that is written out for each of its places cost less than patches.

  Args:
    x: f[1, T, F, B].
    kernel: f[kt, kf, 1, O].
    before: how many frames of zeros precede the input.
    after: how many follow it.

  Returns:
    f[O, T + before + after - kt + 1, F - kf + 1, B].
  """
  frames, bands, _, filters = kernel.shape
  if is_native():
    padding = ((0, 0), (before, after), (0, 0), (0, 0))
    return conv(jnp.pad(x, padding), kernel, 'VALID')
  x, kernel = x[0], kernel[:, :, 0]
  num_in, num_bands, batch = x.shape
  num_frames = num_in + before + after - frames + 1
  places = num_bands - bands + 1
  if bands == 1:
    # f[T, T', O]: from each frame to each frame.
    weights = _written_out(kernel[:, 0], num_in, num_frames, before)
    weights = weights.transpose(2, 1, 0).reshape(-1, num_in)
    found = product(weights, x[..., None])
    return found.reshape(filters, num_frames, num_bands, batch)
  x = jnp.pad(x, ((before, after), (0, 0), (0, 0))).swapaxes(0, 1)
  rows = [x[:, i : i + num_frames] for i in range(frames)]
  # f[F, F', kt, O]: from each band to each place of a kernel.
  weights = _written_out(kernel.swapaxes(0, 1), num_bands, places, 0)
  weights = weights.transpose(1, 3, 2, 0).reshape(places * filters, -1)
  found = product(weights, jnp.concatenate(rows)[..., None])
  found = found.reshape(places, filters, num_frames, batch)
  return found.transpose(1, 2, 0, 3)


def _written_out(
  kernel: jax.Array, num_in: int, num_out: int, before: int
) -> jax.Array:
  """Returns f[num_in, num_out, ...], the matrix of a convolution.

  Args:
    kernel: f[k, ...].
    num_in: the length of the input.
    num_out: the length of the output.
    before: how many zeros precede the input.
  """
  tap = np.arange(num_in)[:, None] - np.arange(num_out) + before
  is_inside = (tap >= 0) & (tap < len(kernel))
  is_inside = is_inside.reshape(*tap.shape, *(1,) * (kernel.ndim - 1))
  return jnp.where(is_inside, kernel[np.clip(tap, 0, len(kernel) - 1)], 0)
