"""The windows of `mgc_jax.models.windows.grid_windows` as ONNX operators."""

import numpy as np

from mgc_jax.inference.onnx_model.graph import Graph, Value
from mgc_jax.models.bundle import Bundle
from mgc_jax.models.windows import (
  MIN_BAND_STD_DB,
  MIN_VARIANCE,
  grid_size,
)


def grid_windows(
  g: Graph, frames: Value, num_frames: Value, size: int, bundle: Bundle
) -> tuple[Value, Value, int]:
  """Adds what cuts and standardises the windows of excerpts.

  Args:
    g: the graph.
    frames: f16[B, N, F] in dB.
    num_frames: i32[B], the real frames of each excerpt.
    size: N.
    bundle: `config.windows` and the statistics of bands are read.

  Returns:
    f32[B, W, T, F] windows, bool[B, W], True where a window is real, and W.
  """
  settings = bundle.config.windows
  num_bands = len(bundle.band_mean)
  length, hop = settings.num_frames, settings.hop_frames
  num_windows = grid_size(size, length, hop)
  count = g.reshape(g.cast(num_frames, np.int64), -1, 1)  # [B, 1]
  last = g.add('Max', g.add('Sub', count, np.array(length)), np.array(0))
  order = np.arange(num_windows)[None]
  starts = g.add('Min', order * hop, last)  # [B, W]
  last_order = g.add(
    'Div', g.add('Add', last, np.array(hop // 2)), np.array(hop)
  )
  mask = g.add('LessOrEqual', order, last_order)
  times = g.add(
    'Add',
    g.add('Unsqueeze', starts, np.array([2])),
    np.arange(length)[None, None],
  )
  x = g.cast(frames, np.float32)
  how = settings.standardise
  if how == 'bands':
    x = g.add('Div', g.add('Sub', x, bundle.band_mean), bundle.band_std)
  elif how in ('excerpt', 'excerpt_bands'):
    inside = g.add('Less', np.arange(size)[None], count)
    axes = (1, 2) if how == 'excerpt' else (1,)
    x = _standardised(g, x, inside, num_bands, axes)
  x = g.add(
    'GatherND', x, g.add('Unsqueeze', times, np.array([3])), batch_dims=1
  )
  inside = g.add('Less', times, g.add('Unsqueeze', count, np.array([2])))
  if how == 'window':
    return _standardised(g, x, inside, num_bands, (2, 3)), mask, num_windows
  inside = g.add('Unsqueeze', inside, np.array([3]))
  return g.add('Where', inside, x, np.float32(0)), mask, num_windows


def _standardised(
  g: Graph, x: Value, inside: Value, num_bands: int, axes: tuple[int, ...]
) -> Value:
  """Subtracts the mean over some axes and divides by the standard deviation.

  Args:
    g: the graph.
    x: f32[..., F].
    inside: bool[...], which frames are real; the others become 0.
    num_bands: F.
    axes: the axes of the mean; if they have no bands, each has its own.
  """
  by_band = len(axes) == 1
  inside = g.add('Unsqueeze', inside, np.array([-1]))
  zero = np.float32(0)

  def total(x: Value) -> Value:
    return g.reduce('ReduceSum', x, *axes, keep=True)

  # Of the axes of frames, which come first.
  count = g.reduce('ReduceSum', g.cast(inside, np.float32), axes[0], keep=True)
  count = g.add('Max', count, np.float32(1))
  if not by_band:
    count = g.add('Mul', count, np.float32(num_bands))
  mean = g.add('Div', total(g.add('Where', inside, x, zero)), count)
  around = g.add('Where', inside, g.add('Sub', x, mean), zero)
  variance = g.add('Div', total(g.add('Mul', around, around)), count)
  std = g.add('Sqrt', g.add('Max', variance, np.float32(MIN_VARIANCE)))
  if by_band:
    std = g.add('Max', std, np.float32(MIN_BAND_STD_DB))
  return g.add('Div', around, std)
