"""Cuts windows from excerpts, on the device: random in training, else a grid.

A window is real where the excerpt has frames for it; every excerpt has at
least one real window, padded where the excerpt is shorter than a window.
"""

import jax
import jax.numpy as jnp


def grid_size(num_frames: int, length: int, hop: int) -> int:
  """Returns W, the windows of the evaluation grid over so many frames.

  The last window is moved back to end with the excerpt; a rest shorter than
  half a hop is left out.
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


def cut(frames: jax.Array, starts: jax.Array, length: int) -> jax.Array:
  """Cuts windows.

  Args:
    frames: f[B, N, F].
    starts: i32[B, W], first frame of each window.
    length: T; frames from N on are zeros.

  Returns:
    f32[B, W, T, F].
  """
  missing = max(0, length - frames.shape[1])
  padded = jnp.pad(frames, ((0, 0), (0, missing), (0, 0)))

  def window(excerpt: jax.Array, start: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(excerpt, start, length)

  per_excerpt = jax.vmap(window, in_axes=(None, 0))
  return jax.vmap(per_excerpt)(padded, starts).astype(jnp.float32)


def standardise(
  windows: jax.Array,
  starts: jax.Array,
  num_frames: jax.Array,
  band_mean: jax.Array,
  band_std: jax.Array,
) -> jax.Array:
  """Brings each band to mean 0 and deviation 1; frames behind the end to 0.

  Args:
    windows: f32[B, W, T, F] in dB.
    starts: i32[B, W], first frame of each window.
    num_frames: i32[B], real frames of each excerpt.
    band_mean: f32[F] over the training side.
    band_std: f32[F] over the training side.

  Returns:
    f32[B, W, T, F].
  """
  times = starts[..., None] + jnp.arange(windows.shape[2])
  inside = times < num_frames[:, None, None]
  scaled = (windows - band_mean) / band_std
  return jnp.where(inside[..., None], scaled, 0.0)
