"""Cuts windows from excerpts, on the device: random in training, else a grid.

A window is real where the excerpt has frames for it; every excerpt has at
least one real window, padded where the excerpt is shorter than a window.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import FrozenConfigDict


def grid_size(num_frames: int, length: int, hop: int) -> int:
  """Returns W, the windows of the evaluation grid over so many frames.

  The last window is moved back to end with the excerpt; a rest shorter than
  half a hop is left out.

  Args:
    num_frames: of an excerpt.
    length: frames of a window.
    hop: frames from one window to the next.
  """
  return 1 + max(0, (num_frames - length + hop // 2) // hop)


def grid_starts(
  num_frames: jax.Array, num_windows: int, length: int, hop: int
) -> tuple[jax.Array, jax.Array]:
  """Places the evaluation grid in each excerpt.

  Args:
    num_frames: i32[B], real frames of each excerpt.
    num_windows: W, `grid_size` of the longest excerpt.
    length: T, frames in a window.
    hop: frames between the starts of successive windows.

  Returns:
    i32[B, W] first frames, and bool[B, W], True where the window is real.
  """
  last = jnp.maximum(num_frames - length, 0)[:, None]
  order = jnp.arange(num_windows)[None]
  starts = jnp.minimum(order * hop, last)
  return starts, order <= (last + hop // 2) // hop


def random_starts(
  key: jax.Array,
  num_frames: jax.Array,
  num_windows: int,
  length: int,
  hop: int,
  shift: bool = True,
) -> tuple[jax.Array, jax.Array]:
  """Places W successive windows at a random place of each excerpt.

  Args:
    key: of the randomness.
    num_frames: i32[B], real frames of each excerpt.
    num_windows: W.
    length: T, frames in a window.
    hop: frames between the starts of successive windows.
    shift: whether the place is random; at the excerpt's start where not.

  Returns:
    i32[B, W] first frames, and bool[B, W], True where the window is real.
  """
  steps = jnp.arange(num_windows)[None] * hop
  slack = jnp.maximum(num_frames - length, 0)
  room = slack - jnp.minimum(slack // hop, num_windows - 1) * hop
  uniform = jax.random.uniform(key, num_frames.shape)
  first = jnp.floor(uniform * (room + 1)).astype(jnp.int32) * shift
  starts = first[:, None] + steps
  real = (starts + length <= num_frames[:, None]) | (steps == 0)
  return jnp.where(real, starts, 0), real


def scattered_starts(
  key: jax.Array, num_frames: jax.Array, num_windows: int, length: int
) -> tuple[jax.Array, jax.Array]:
  """Places W windows anywhere in each excerpt, in order; they may overlap.

  Args:
    key: of the randomness.
    num_frames: i32[B], real frames of each excerpt.
    num_windows: W.
    length: T, frames in a window.

  Returns:
    i32[B, W] first frames, and bool[B, W], True where the window is real: all
    of them, but one alone where the excerpt is shorter than a window.
  """
  shape = (len(num_frames), num_windows)
  room = jnp.maximum(num_frames - length, 0)[:, None]
  uniform = jnp.sort(jax.random.uniform(key, shape), axis=1)
  starts = jnp.floor(uniform * (room + 1)).astype(jnp.int32)
  is_first = (jnp.arange(num_windows) == 0)[None]
  return starts, (num_frames >= length)[:, None] | is_first


def cut(
  frames: jax.Array,
  starts: jax.Array,
  length: int,
  speed: jax.Array | None = None,
) -> jax.Array:
  """Cuts windows.

  Args:
    frames: f[B, N, F].
    starts: i32[B, W], first frame of each window.
    length: T; frames from N on are zeros.
    speed: f32[B] at which an excerpt is played: frame t of it is the one that
      lies nearest to t x speed. Nearest, for a mean of two frames is smoother
      than any frame that is not stretched. None: as it is.

  Returns:
    f32[B, W, T, F].
  """
  missing = max(0, length - frames.shape[1])
  padded = jnp.pad(frames, ((0, 0), (0, missing), (0, 0)))
  if speed is not None:
    times = starts[..., None] + jnp.arange(length)[None, None]
    nearest = jnp.round(times * speed[:, None, None]).astype(jnp.int32)
    nearest = jnp.minimum(nearest, padded.shape[1] - 1)
    taken = jax.vmap(lambda excerpt, where: excerpt[where])(padded, nearest)
    return taken.astype(jnp.float32)

  def window(excerpt: jax.Array, start: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(excerpt, start, length)

  per_excerpt = jax.vmap(window, in_axes=(None, 0))
  return jax.vmap(per_excerpt)(padded, starts).astype(jnp.float32)


def stretched(num_frames: jax.Array, speed: jax.Array) -> jax.Array:
  """Returns i32[B], how many frames excerpts have when played at f32[B]."""
  return jnp.floor((num_frames - 1) / speed).astype(jnp.int32) + 1


def excerpt_stats(
  frames: jax.Array, num_frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns f32[B, 1, 1, 1] mean and deviation of each excerpt, of all bands.

  Args:
    frames: f[B, N, F] in dB.
    num_frames: i32[B], real frames of each excerpt.
  """
  inside = jnp.arange(frames.shape[1])[None] < num_frames[:, None]
  values = jnp.where(inside[..., None], frames.astype(jnp.float32), 0.0)
  count = jnp.maximum(num_frames, 1)[:, None, None] * frames.shape[-1]
  mean = values.sum(axis=(1, 2), keepdims=True) / count
  # Around the mean: sums of squares of decibels would lose digits.
  around = jnp.where(inside[..., None], values - mean, 0.0)
  variance = (around**2).sum(axis=(1, 2), keepdims=True) / count
  # Silence has none.
  std = jnp.sqrt(jnp.maximum(variance, 1e-6))
  return mean[..., None], std[..., None]


def window_stats(
  windows: jax.Array, starts: jax.Array, num_frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns f32[B, W, 1, 1] mean and deviation of each window, of all bands.

  Args:
    windows: f32[B, W, T, F] in dB.
    starts: i32[B, W], first frame of each window.
    num_frames: i32[B], real frames of each excerpt.
  """
  length = windows.shape[2]
  real = jnp.clip(num_frames[:, None] - starts, 0, length)
  flat = windows.reshape(-1, *windows.shape[2:])
  mean, std = excerpt_stats(flat, real.reshape(-1))
  shape = (*starts.shape, 1, 1)
  return mean.reshape(shape), std.reshape(shape)


def standardise(
  windows: jax.Array,
  starts: jax.Array,
  num_frames: jax.Array,
  mean: jax.Array | np.ndarray,
  std: jax.Array | np.ndarray,
) -> jax.Array:
  """Brings values to mean 0 and deviation 1; frames behind the end to 0.

  Args:
    windows: f32[B, W, T, F] in dB.
    starts: i32[B, W], first frame of each window.
    num_frames: i32[B], real frames of each excerpt.
    mean: f32[F] over the training split, or of `excerpt_stats` or
      `window_stats`.
    std: likewise.

  Returns:
    f32[B, W, T, F].
  """
  times = starts[..., None] + jnp.arange(windows.shape[2])[None, None]
  inside = times < num_frames[:, None, None]
  if mean.ndim == 1:
    mean, std = mean[None, None, None], std[None, None, None]
  scaled = (windows - mean) / std
  return jnp.where(inside[..., None], scaled, 0.0)


def grid_windows(
  frames: jax.Array,
  num_frames: jax.Array,
  band_mean: jax.Array | np.ndarray,
  band_std: jax.Array | np.ndarray,
  settings: FrozenConfigDict,
  cut: Callable = cut,
) -> tuple[jax.Array, jax.Array]:
  """Returns the windows that a model is evaluated on.

  Args:
    frames: f[B, N, F] in dB.
    num_frames: i32[B], real frames of each excerpt.
    band_mean: f32[F] over the training split.
    band_std: likewise.
    settings: `config.windows`.
    cut: as `cut`, for who has no such slices.

  Returns:
    f32[B, W, T, F], standardised, and bool[B, W], True where a window is real.
  """
  length, hop = settings.num_frames, settings.hop_frames
  num_windows = grid_size(frames.shape[1], length, hop)
  starts, mask = grid_starts(num_frames, num_windows, length, hop)
  stats = band_mean, band_std
  cuts = cut(frames, starts, length)
  if settings.standardise == 'excerpt':
    stats = excerpt_stats(frames, num_frames)
  elif settings.standardise == 'window':
    stats = window_stats(cuts, starts, num_frames)
  return standardise(cuts, starts, num_frames, *stats), mask
