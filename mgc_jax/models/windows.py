"""Cuts windows from excerpts on the device, at random places or on a grid.

A window is real if the excerpt has frames for it. Every excerpt has at least
one real window, which is padded if the excerpt is shorter than a window.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mgc_jax.config.schema import WindowsConfig

MIN_BAND_STD_DB = 1.0  # in a band without signal, noise is not amplified
MIN_VARIANCE = 1e-6  # that of silence is zero


def grid_size(num_frames: int, length: int, hop: int) -> int:
  """Returns W, the number of windows of the evaluation grid.

  The last window is moved back so that it ends with the excerpt. A remainder
  shorter than half a hop is ignored.

  Args:
    num_frames: Length of the excerpt.
    length: Length of a window in frames.
    hop: Frames between the starts of successive windows.
  """
  return 1 + max(0, (num_frames - length + hop // 2) // hop)


def grid_starts(
  num_frames: jax.Array, num_windows: int, length: int, hop: int
) -> tuple[jax.Array, jax.Array]:
  """Returns the positions of the evaluation grid in each excerpt.

  Args:
    num_frames: i32[B], real frames of each excerpt.
    num_windows: W, the `grid_size` of the longest excerpt.
    length: T, the length of a window in frames.
    hop: Frames between the starts of successive windows.

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
  """Returns positions of W successive windows, at a random place if `shift`.

  Args:
    key: Random key.
    num_frames: i32[B], real frames of each excerpt.
    num_windows: W, the number of windows.
    length: T, the length of a window in frames.
    hop: Frames between the starts of successive windows.
    shift: Whether the place is random; otherwise the start of the excerpt.

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
  """Returns random positions of W windows in each excerpt; they may overlap.

  Args:
    key: Random key.
    num_frames: i32[B], real frames of each excerpt.
    num_windows: W, the number of windows.
    length: T, the length of a window in frames.

  Returns:
    i32[B, W] first frames in increasing order, and bool[B, W], True where the
    window is real: all windows, or only the first if the excerpt is shorter
    than a window.
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
  """Returns windows of excerpts.

  Args:
    frames: f[B, N, F].
    starts: i32[B, W], first frame of each window.
    length: T; frames from N on are zeros.
    speed: f32[B], how fast each excerpt is played: frame t becomes the frame
      nearest to t x speed. The nearest one, because the mean of two frames
      would be smoother than any real frame. None means unchanged.

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
  """Returns i32[B], the frames of excerpts that are played at f32[B] speeds."""
  return jnp.floor((num_frames - 1) / speed).astype(jnp.int32) + 1


def excerpt_band_stats(
  frames: jax.Array, num_frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns f32[B, 1, 1, F] mean and standard deviation of each band.

  Args:
    frames: f[B, N, F] in dB.
    num_frames: i32[B], real frames of each excerpt.
  """
  flat = frames.swapaxes(1, 2).reshape(-1, frames.shape[1], 1)
  mean, std = excerpt_stats(flat, jnp.repeat(num_frames, frames.shape[2]))
  shape = (frames.shape[0], 1, 1, frames.shape[2])
  return mean.reshape(shape), jnp.maximum(std.reshape(shape), MIN_BAND_STD_DB)


def excerpt_stats(
  frames: jax.Array, num_frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns f32[B, 1, 1, 1] mean and standard deviation of each excerpt.

  Args:
    frames: f[B, N, F] in dB.
    num_frames: i32[B], real frames of each excerpt.
  """
  inside = jnp.arange(frames.shape[1])[None] < num_frames[:, None]
  values = jnp.where(inside[..., None], frames.astype(jnp.float32), 0.0)
  count = jnp.maximum(num_frames, 1)[:, None, None] * frames.shape[-1]
  mean = values.sum(axis=(1, 2), keepdims=True) / count
  # Relative to the mean: sums of squares of decibels would lose digits.
  around = jnp.where(inside[..., None], values - mean, 0.0)
  variance = (around**2).sum(axis=(1, 2), keepdims=True) / count
  std = jnp.sqrt(jnp.maximum(variance, MIN_VARIANCE))
  return mean[..., None], std[..., None]


def window_stats(
  windows: jax.Array, starts: jax.Array, num_frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns f32[B, W, 1, 1] mean and standard deviation of each window.

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


def frame_stats(
  how: str,
  frames: jax.Array,
  num_frames: jax.Array,
  band_mean: jax.Array | np.ndarray,
  band_std: jax.Array | np.ndarray,
) -> tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]:
  """Returns mean and standard deviation, as `standardise` needs them.

  Args:
    how: `config.windows.standardise`. The statistics of windows are known only
      after they are cut: for `window`, call `window_stats` then.
    frames: f[B, N, F].
    num_frames: i32[B], real frames of each excerpt.
    band_mean: f32[F], mean over the training split.
    band_std: f32[F], standard deviation over the training split.
  """
  if how == 'excerpt':
    return excerpt_stats(frames, num_frames)
  if how == 'excerpt_bands':
    return excerpt_band_stats(frames, num_frames)
  if how == 'none':
    return jnp.zeros(frames.shape[-1]), jnp.ones(frames.shape[-1])
  return band_mean, band_std


def standardise(
  windows: jax.Array,
  starts: jax.Array,
  num_frames: jax.Array,
  mean: jax.Array | np.ndarray,
  std: jax.Array | np.ndarray,
) -> jax.Array:
  """Returns (windows - mean) / std, and 0 for frames after the end.

  Args:
    windows: f32[B, W, T, F] in dB.
    starts: i32[B, W], first frame of each window.
    num_frames: i32[B], real frames of each excerpt.
    mean: f32[F], or the result of `frame_stats` or `window_stats`.
    std: Standard deviation, in the same form.

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
  settings: WindowsConfig,
) -> tuple[jax.Array, jax.Array]:
  """Returns the windows on which a model is evaluated.

  Args:
    frames: f[B, N, F] in dB.
    num_frames: i32[B], real frames of each excerpt.
    band_mean: f32[F], mean over the training split.
    band_std: f32[F], standard deviation over the training split.
    settings: `config.windows`.

  Returns:
    f32[B, W, T, F], standardised, and bool[B, W], True where a window is real.
  """
  length, hop = settings.num_frames, settings.hop_frames
  num_windows = grid_size(frames.shape[1], length, hop)
  starts, mask = grid_starts(num_frames, num_windows, length, hop)
  how = settings.standardise
  stats = frame_stats(how, frames, num_frames, band_mean, band_std)
  cuts = cut(frames, starts, length)
  if how == 'window':
    stats = window_stats(cuts, starts, num_frames)
  return standardise(cuts, starts, num_frames, *stats), mask
