"""The layers of `mgc_jax.models.musicnn` as ONNX operators, in evaluation.

Maps are f32[N, C, T] or f32[N, C, T, F]. Weights have the names that they have
in `Musicnn`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mgc_jax.audio.musicnn_mel import NUM_BANDS
from mgc_jax.inference.onnx_model.graph import LANES, Graph, Value
from mgc_jax.inference.onnx_model.weights import Weights
from mgc_jax.models.musicnn import FRONT_KERNELS, NORM_EPSILON, Grid

NUM_FEATURES = 200
_NUM_MID = 3


def encoder(variables: Any, grid: Grid, num_windows: int) -> Any:
  """Returns the `onnx.ModelProto` of the encoder for the windows of a track.

  Its input `frames` is f32[L, 96], the frames of `num_windows` windows. Its
  outputs are `features` f32[N, 200] and `tags` f32[N, 50].

  Args:
    variables: of a `Musicnn`.
    grid: how the windows overlap.
    num_windows: N.
  """
  g, weights = Graph(), Weights(variables)
  length = (num_windows - 1) * grid.hop_frames + grid.num_frames
  track = g.reshape('frames', 1, 1, length, NUM_BANDS)
  found = features(g, track, grid.num_frames, weights, grid, num_windows)
  tags = weights.of('tags')
  num_tags = len(tags['bias'])
  logits = g.add('Gemm', found, tags['kernel'], tags['bias'])
  return g.model(
    [('frames', np.float32, (length, NUM_BANDS))],
    {
      'features': (found, (np.float32, (num_windows, NUM_FEATURES))),
      'tags': (g.add('Sigmoid', logits), (np.float32, (num_windows, num_tags))),
    },
  )


def features(
  g: Graph,
  x: Value,
  num_frames: int,
  weights: Weights,
  grid: Grid | None = None,
  num_windows: int = 0,
) -> Value:
  """Adds the layers up to the features; returns f32[N, 200].

  Args:
    g: the graph.
    x: f32[N, 1, T, F] windows; with a grid f32[1, 1, L, F], the frames of a
      track, of which the windows share what they have in common.
    num_frames: T.
    weights: of the network.
    grid: how the windows of a track overlap.
    num_windows: N, with a grid.
  """
  scale, bias = weights.of('input_norm').norm(NORM_EPSILON)
  x = g.add('Add', g.add('Mul', x, scale), bias)
  windows, places = x, None
  if grid:
    starts = np.arange(num_windows) * grid.hop_frames
    places = starts[:, None] + np.arange(num_frames)
    windows = g.add('Gather', x, places, axis=2)
    windows = g.reshape(windows, num_windows, 1, num_frames, -1)
  parts = []
  for i, (_, num_bands) in enumerate(FRONT_KERNELS):
    own = weights.of(f'front_{i}')
    if num_bands == 1 and _is_long(own, num_frames):
      parts.append(_rhythm(g, windows, num_frames, own))
    elif num_bands == 1 or places is None:
      parts.append(_front(g, windows, own, *_padding(own)))
    else:
      parts.append(_shared_front(g, x, windows, places, own))
  maps = [g.add('Concat', *parts, axis=1)]
  x = g.add('Unsqueeze', maps[0], np.array([2]))  # time last: f32[N, C, 1, T]
  for i in range(_NUM_MID):
    y = _mid_end(g, x, weights.of(f'mid_{i}'))
    x = g.add('Add', y, x) if i else y
    maps.append(g.add('Squeeze', x, np.array([2])))
  return _back_end(g, maps, weights)


def _padding(weights: Weights) -> tuple[int, int]:
  """Returns how many frames of zeros a front end adds before and after."""
  size = len(weights['kernel'])
  return (size - 1) // 2, size // 2


def _is_long(weights: Weights, num_frames: int) -> bool:
  """Returns whether a matrix product costs less than a convolution.

  A product maps all frames to all frames; a convolution computes a multiple of
  `LANES` filters.
  """
  length, _, _, num_filters = weights['kernel'].shape
  return num_filters * num_frames < -(-num_filters // LANES) * LANES * length


def _front(
  g: Graph, x: Value, weights: Weights, before: int, after: int
) -> Value:
  """Filters and their maximum: maps f32[N, 1, T, F] to f32[N, C, T']."""
  kernel = weights['kernel'].transpose(3, 2, 0, 1)
  count, width = len(kernel), NUM_BANDS - kernel.shape[3] + 1
  # Filters that are always zero fill the registers.
  missing = -count % LANES
  kernel = np.pad(kernel, ((0, missing), (0, 0), (0, 0), (0, 0)))
  bias = np.pad(weights['bias'], (0, missing))
  x = g.add('Conv', x, kernel, bias, pads=[before, 0, after, 0])

  def maximum(x: Value) -> Value:
    x = g.add('MaxPool', x, kernel_shape=[1, width])
    return g.cut(g.add('Squeeze', x, np.array([3])), 1, 0, count)

  return _normed_maximum(g, g.add('Relu', x), len(bias), weights, maximum)


def _shared_front(
  g: Graph, track: Value, windows: Value, places: np.ndarray, weights: Weights
) -> Value:
  """Filters over bands of all windows of a track.

  Only at their ends, where they are padded, do windows differ from the track.
  """
  num_end = len(weights['kernel']) - 1
  num_frames = places.shape[1]
  before, after = _padding(weights)
  start = g.cut(windows, 2, 0, num_end)
  end = g.cut(windows, 2, num_frames - num_end, num_frames)
  inside = _front(g, track, weights, 0, 0)  # f32[1, C, L']
  inside = g.add('Gather', inside, places[:, : num_frames - num_end], axis=2)
  inside = g.add(
    'Transpose', g.add('Squeeze', inside, np.array([0])), perm=[1, 0, 2]
  )
  parts = (
    _front(g, start, weights, before, 0),
    inside,
    _front(g, end, weights, 0, after),
  )
  return g.add('Concat', *parts, axis=2)


def _rhythm(g: Graph, x: Value, num_frames: int, weights: Weights) -> Value:
  """Filters over time: maps f32[N, 1, T, F] to f32[N, C, T].

  They are nearly as long as a window, so the convolution is the product with a
  matrix that maps each frame to each frame.
  """
  kernel, (before, _) = weights['kernel'][:, 0, 0], _padding(weights)
  tap = np.arange(num_frames) - np.arange(num_frames)[:, None] + before
  inside = (tap >= 0) & (tap < len(kernel))
  taken = kernel[np.clip(tap, 0, len(kernel) - 1)]  # f[T', T, C]
  matrix = np.where(inside[..., None], taken, 0).transpose(2, 0, 1)
  num_filters = kernel.shape[1]
  x = g.add(
    'MatMul', matrix.reshape(-1, num_frames), g.add('Squeeze', x, np.array([1]))
  )
  x = g.reshape(x, 0, num_filters, num_frames, -1)
  bias = weights['bias'][:, None, None]
  x = g.add('Relu', g.add('Add', x, bias))

  def maximum(x: Value) -> Value:
    return g.reduce('ReduceMax', x, 3)

  return _normed_maximum(g, x, num_filters, weights, maximum)


def _normed_maximum(
  g: Graph,
  x: Value,
  num_channels: int,
  weights: Weights,
  maximum: Callable[[Value], Value],
) -> Value:
  """Batch norm, then the maximum over bands.

  Args:
    g: the graph.
    x: f32[N, C', T, F]; channels from C on are zero.
    num_channels: C'.
    weights: of the part of the front end.
    maximum: maps `x` to f32[N, C, T].
  """
  scale, bias = weights.of('norm').norm(NORM_EPSILON)
  if (scale < 0).any():  # of which the maximum is not that of the input
    sign = np.where(scale < 0, -1, 1).astype(np.float32)
    sign = np.pad(sign, (0, num_channels - len(sign)))
    x = g.add('Mul', x, sign[:, None, None])
    scale = np.abs(scale)
  x = g.add('Mul', maximum(x), scale[:, None])
  return g.add('Add', x, bias[:, None])


def _mid_end(g: Graph, x: Value, weights: Weights) -> Value:
  """Convolution over time: maps f32[N, C, 1, T] to f32[N, 64, 1, T]."""
  kernel = weights['kernel'].transpose(3, 2, 1, 0)
  after = kernel.shape[3] // 2
  x = g.add('Conv', x, kernel, weights['bias'], pads=[0, after, 0, after])
  scale, bias = weights.of('norm').norm(NORM_EPSILON)
  x = g.add('Mul', g.add('Relu', x), scale[:, None, None])
  return g.add('Add', x, bias[:, None, None])


def _back_end(g: Graph, maps: list[Value], weights: Weights) -> Value:
  """Maximum and mean over time of all maps f32[N, C, T], then dense layers."""
  pooled = []
  for op in ('ReduceMax', 'ReduceMean'):
    values = g.add('Concat', *(g.reduce(op, x, 2) for x in maps), axis=1)
    pooled.append(g.add('Unsqueeze', values, np.array([2])))
  # A channel's maximum comes next to its mean, as in the checkpoint.
  x = g.add('Flatten', g.add('Concat', *pooled, axis=2))
  own = weights.of('features')
  scale, shift = weights.of('pool_norm').norm(NORM_EPSILON)
  kernel = own['kernel']
  x = g.add('Gemm', x, kernel * scale[:, None], own['bias'] + shift @ kernel)
  scale, shift = weights.of('features_norm').norm(NORM_EPSILON)
  return g.add('Add', g.add('Mul', g.add('Relu', x), scale), shift)
