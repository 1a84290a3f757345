"""The networks of `mgc_jax.models` as ONNX operators, in evaluation.

Feature maps are f32[N, C, T, F], the layout of ONNX. Batch norm is folded into
the weights before it. Weights are those of `Bundle.variables`, by their names
joined with '/'.
"""

import dataclasses
import math

import numpy as np

from mgc_jax.config.schema import CnnConfig, Config, LstmConfig
from mgc_jax.inference.onnx_model import musicnn
from mgc_jax.inference.onnx_model.graph import LANES, Graph, Value
from mgc_jax.inference.onnx_model.weights import Weights

_NORM_EPSILON = 1e-5  # the default of `nn.BatchNorm`
_MONOTONE = ('elu', 'tanh')  # as ReLU is, these commute with max-pool
_OPERATORS = {'relu': 'Relu', 'elu': 'Elu', 'tanh': 'Tanh'}
# The order of an LSTM's gates: ours, then that of ONNX.
_GATES = 'ifgo'
_ONNX_GATES = 'iofg'


@dataclasses.dataclass(frozen=True)
class Sizes:
  """The sizes of the windows that a network sees."""

  num_windows: int
  num_frames: int
  num_bands: int


def network(
  g: Graph, windows: Value, sizes: Sizes, config: Config, weights: Weights
) -> tuple[Value, Value]:
  """Adds the network of a configuration.

  Args:
    g: the graph.
    windows: f32[B, W, T, F].
    sizes: W, T and F.
    config: `config.model` is read.
    weights: those of the bundle.

  Returns:
    f32[B, W, C] logits, and f32[B, W, D] embeddings.
  """
  count = config.model.num_members
  if count == 1:
    return _member(g, windows, sizes, config, weights)
  logits, embeddings = [], []
  # In the order in which JAX concatenates the embeddings: that of the names.
  for name in sorted(f'members_{i}' for i in range(count)):
    found, embedding = _member(g, windows, sizes, config, weights.of(name))
    each = g.add('LogSoftmax', found, axis=-1)
    logits.append(g.add('Unsqueeze', each, np.array([0])))
    embeddings.append(embedding)
  total = g.reduce('ReduceLogSumExp', g.add('Concat', *logits, axis=0), 0)
  return (
    g.add('Sub', total, np.float32(math.log(count))),
    g.add('Concat', *embeddings, axis=-1),
  )


def _member(
  g: Graph, windows: Value, sizes: Sizes, config: Config, weights: Weights
) -> tuple[Value, Value]:
  name, model = config.model.name, config.model
  if name == 'musicnn':
    x = _musicnn(g, windows, sizes, weights)
  elif name == 'lstm':
    x = _lstm(g, windows, sizes, model.lstm, weights)
  else:
    steps, num_steps, depth = _conv_stack(
      g, windows, sizes, model.cnn, weights.of('ConvStack_0')
    )
    if name == 'cnn':
      x = g.reshape(steps, -1, sizes.num_windows, num_steps * depth)
    else:
      x = _scan_windows(g, steps, sizes, num_steps, model.lstm, weights)
  return _head(g, x, config, weights.of('Head_0'))


def _musicnn(g: Graph, windows: Value, sizes: Sizes, weights: Weights) -> Value:
  shape = (sizes.num_frames, sizes.num_bands)
  features = musicnn.features(
    g, g.reshape(windows, -1, 1, *shape), shape[0], weights
  )
  return g.reshape(features, -1, sizes.num_windows, musicnn.NUM_FEATURES)


def _activated(g: Graph, x: Value, name: str) -> Value:
  if name == 'gelu':  # as `nn.gelu` does by default
    return g.add('Gelu', x, approximate='tanh')
  if name == 'silu':
    return g.add('Mul', x, g.add('Sigmoid', x))
  return g.add(_OPERATORS[name], x)


def _conv_stack(
  g: Graph, windows: Value, sizes: Sizes, cnn: CnnConfig, weights: Weights
) -> tuple[Value, int, int]:
  """Maps f32[B, W, T, F] to f32[B W, S, D]; also returns S and D."""
  x, t, f = _stacked(g, windows, sizes, cnn)
  last = len(cnn.filters) - 1
  for i in range(len(cnn.filters)):
    pool = (cnn.pool_frames[i], cnn.pool_bands[i])
    own = weights.of(f'ConvBlock_{i}')
    x = _conv_block(g, x, cnn, pool, own, is_first=i == 0, is_last=i == last)
    cut = cnn.kernel_size - 1 if cnn.padding == 'VALID' else 0
    t, f = (t - cut) // pool[0], (f - cut) // pool[1]
  depth = cnn.filters[-1]
  if cnn.readout in ('flatten', 'steps'):
    num_steps = t if cnn.readout == 'steps' else 1
    x = g.add('Transpose', x, perm=[0, 2, 3, 1])
    depth *= f * (t // num_steps)
    return g.reshape(x, -1, num_steps, depth), num_steps, depth
  x = g.reduce('ReduceMean', x, 3)
  if cnn.readout == 'step_means':
    return g.add('Transpose', x, perm=[0, 2, 1]), t, depth
  found = g.reduce('ReduceMean', x, 2)
  if cnn.readout == 'mean_max':
    found = g.add('Concat', found, g.reduce('ReduceMax', x, 2), axis=-1)
    depth *= 2
  return g.add('Unsqueeze', found, np.array([1])), 1, depth


def _stacked(
  g: Graph, windows: Value, sizes: Sizes, cnn: CnnConfig
) -> tuple[Value, int, int]:
  """Stacks frames and bands as channels, as `layers.ConvStack` does."""
  frames, bands = cnn.stack_frames, cnn.stack_bands
  t, f = sizes.num_frames // frames, sizes.num_bands // bands
  x = g.reshape(windows, -1, sizes.num_frames, sizes.num_bands)
  if (t * frames, f * bands) != (sizes.num_frames, sizes.num_bands):
    x = g.cut(g.cut(x, 1, 0, t * frames), 2, 0, f * bands)
  if frames == bands == 1:
    return g.add('Unsqueeze', x, np.array([1])), t, f
  x = g.reshape(x, -1, t, frames, f, bands)
  x = g.add('Transpose', x, perm=[0, 2, 4, 1, 3])
  return g.reshape(x, -1, frames * bands, t, f), t, f


def _conv_block(
  g: Graph,
  x: Value,
  cnn: CnnConfig,
  pool: tuple[int, int],
  weights: Weights,
  is_first: bool,
  is_last: bool,
) -> Value:
  """Convolution, batch norm, activation and max-pool of one block."""
  kernel, bias, sign = _folded(cnn, weights)
  # Filters that are always zero fill the registers, and nothing reads them.
  missing_in = 0 if is_first else -kernel.shape[1] % LANES
  missing = 0 if is_last else -len(kernel) % LANES
  kernel = np.pad(kernel, ((0, missing), (0, missing_in), (0, 0), (0, 0)))
  bias, sign = np.pad(bias, (0, missing)), np.pad(sign, (0, missing))
  before, after = (cnn.kernel_size - 1) // 2, cnn.kernel_size // 2
  pads = [before, before, after, after] if cnn.padding == 'SAME' else [0] * 4
  is_turned = (sign < 0).any()
  inputs = (x, kernel) if is_turned else (x, kernel, bias)
  x = g.add('Conv', *inputs, pads=pads)
  # The earlier the max-pool, the less work for what follows; but runtimes
  # compute a ReLU with its convolution.
  pools_first = is_turned or cnn.activation in _MONOTONE
  if cnn.norm == 'batch_after_pool' and cnn.activation != 'relu':
    pools_first = True
  if pools_first:
    x = _max_pool(g, x, pool)
  if is_turned:
    x = g.add('Mul', x, sign[:, None, None])
    x = g.add('Add', x, bias[:, None, None])
  x = _activated(g, x, cnn.activation)
  return x if pools_first else _max_pool(g, x, pool)


def _folded(
  cnn: CnnConfig, weights: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Folds the batch norm of a block into its convolution.

  Returns:
    f32[O, C, kt, kf] kernel, f32[O] bias and f32[O] sign: the max-pool commutes
    with a factor only if it is positive, so that a batch norm after it leaves
    its sign to be applied before the bias.
  """
  kernel = weights['Conv_0/kernel'].transpose(3, 2, 0, 1)
  ones = np.ones(len(kernel), np.float32)
  if cnn.norm == 'none':
    return kernel, weights['Conv_0/bias'], ones
  scale, bias = weights.of('BatchNorm_0').norm(_NORM_EPSILON)
  sign = np.where(scale < 0, -ones, ones)
  if cnn.norm != 'batch_after_pool':
    sign = ones
  return kernel * (scale * sign)[:, None, None, None], bias, sign


def _max_pool(g: Graph, x: Value, pool: tuple[int, int]) -> Value:
  if pool == (1, 1):
    return x
  return g.add('MaxPool', x, kernel_shape=list(pool), strides=list(pool))


def _lstm(
  g: Graph, windows: Value, sizes: Sizes, lstm: LstmConfig, weights: Weights
) -> Value:
  """Maps f32[B, W, T, F] to f32[B, W, R], as `models.Lstm` does."""
  x, t, f = windows, sizes.num_frames, sizes.num_bands
  if lstm.deltas:
    before = g.add('Concat', g.cut(x, 2, 0, 1), g.cut(x, 2, 0, t - 1), axis=2)
    x = g.add('Concat', x, g.add('Sub', x, before), axis=-1)
    f *= 2
  if lstm.bands_as_steps:
    x = g.reshape(g.add('Transpose', x, perm=[0, 1, 3, 2]), -1, f, t)
    num_steps = f
  else:
    num_steps = t // lstm.stack_frames
    x = g.cut(x, 2, 0, num_steps * lstm.stack_frames)
    x = g.reshape(x, -1, num_steps, lstm.stack_frames * f)
  if lstm.encoder_size:
    own = weights.of('StepEncoder_0')
    scale, bias = own.of('BatchNorm_0').norm(_NORM_EPSILON)
    x = g.add('MatMul', x, own['Dense_0/kernel'] * scale)
    x = g.add('Relu', g.add('Add', x, bias))
  return _scan_windows(g, x, sizes, num_steps, lstm, weights)


def _scan_windows(
  g: Graph,
  steps: Value,
  sizes: Sizes,
  num_steps: int,
  lstm: LstmConfig,
  weights: Weights,
) -> Value:
  """Maps f32[B W, S, D] to f32[B, W, R], as `lstm_vjp.scan_windows` does."""
  own = weights.of('WindowLstm_0')
  depth = len(own['input_kernel'])
  w = sizes.num_windows
  along = w * num_steps if lstm.stateful else num_steps
  hidden = _recurrence(g, g.reshape(steps, -1, along, depth), own)
  size = own['input_kernel'].shape[1] // 4
  x = _read_out_steps(
    g, g.reshape(hidden, -1, num_steps, size), num_steps * size, lstm.readout
  )
  if lstm.bidirectional:
    turned = g.add('Slice', steps, *_reversed(1))
    back = _recurrence(g, turned, weights.of('backward'))
    back = _read_out_steps(g, back, num_steps * size, lstm.readout)
    x = g.add('Concat', x, back, axis=-1)
  width = {'mean_max': 2, 'flatten': num_steps}.get(lstm.readout, 1) * size
  return g.reshape(x, -1, w, width * (2 if lstm.bidirectional else 1))


def _reversed(axis: int) -> list[np.ndarray]:
  """Returns the inputs of a `Slice` that turns an axis around."""
  values = [-1], [np.iinfo(np.int64).min], [axis], [-1]
  return [np.array(x, np.int64) for x in values]


def _recurrence(g: Graph, x: Value, weights: Weights) -> Value:
  """Maps f32[N, S, D] to f32[N, S, H]."""
  recurrent = weights['recurrence/kernel']
  bias = weights['bias']
  hidden = g.add(
    'LSTM',
    g.add('Transpose', x, perm=[1, 0, 2]),
    _gates(weights['input_kernel']).T[None],
    _gates(recurrent).T[None],
    np.concatenate([_gates(bias[None])[0], np.zeros_like(bias)])[None],
    hidden_size=len(recurrent),
  )
  return g.add(
    'Transpose', g.add('Squeeze', hidden, np.array([1])), perm=[1, 0, 2]
  )


def _gates(kernel: np.ndarray) -> np.ndarray:
  """Puts the gates of f32[D, 4 H] into the order of ONNX."""
  parts = dict(zip(_GATES, np.split(kernel, 4, axis=-1), strict=True))
  return np.concatenate([parts[gate] for gate in _ONNX_GATES], axis=-1)


def _read_out_steps(g: Graph, x: Value, width: int, how: str) -> Value:
  """Maps f32[N, S, H] to f32[N, R]; the width of `flatten` is given."""
  if how == 'flatten':
    return g.reshape(x, -1, width)
  if how == 'last':
    return g.add('Gather', x, np.array(-1), axis=1)
  mean = g.reduce('ReduceMean', x, 1)
  if how == 'mean':
    return mean
  return g.add('Concat', mean, g.reduce('ReduceMax', x, 1), axis=-1)


def _head(
  g: Graph, x: Value, config: Config, weights: Weights
) -> tuple[Value, Value]:
  """Adds the dense layers; returns logits and their input."""
  count = len(config.model.dense.sizes)
  for i in range(count):
    x = _activated(
      g,
      dense(g, x, weights.of(f'Dense_{i}')),
      config.model.dense.activation,
    )
  return dense(g, x, weights.of(f'Dense_{count}')), x


def dense(g: Graph, x: Value, weights: Weights) -> Value:
  """Adds a dense layer on the last axis."""
  return g.add('Add', g.add('MatMul', x, weights['kernel']), weights['bias'])
