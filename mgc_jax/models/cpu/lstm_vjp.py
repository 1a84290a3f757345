"""An LSTM over the steps of windows, with a hand-written backward pass.

The input products of all steps are one matrix product before the scan, and the
gradient of the recurrent weights is one product after it. Only the recurrent
product and the gates remain in the loop. If JAX differentiated the scan, it
would accumulate that gradient step by step, which takes half of a training step
on CPU for small batches.

For large batches on CPU the opposite is faster: products inside the loop are
large enough, and their operands are still in the processor's cache.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mgc_jax.models.cpu.convolution import is_native
from mgc_jax.models.cpu.dropout import Dropout

Dtype = Any
State = tuple[jax.Array, jax.Array]

_MANY_EXCERPTS = 64  # on CPU; docs/PERFORMANCE_NOTES.md


class WindowLstm(nn.Module):
  """An LSTM over the steps of all windows in order; state crosses windows."""

  hidden_size: int = 128
  input_dropout: float = 0.0
  recurrent_dropout: float = 0.0
  output_dropout: float = 0.5
  readout: str = 'mean_max'
  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, steps: jax.Array, train: bool) -> jax.Array:
    """Scans the windows of an excerpt, starting from a zero state.

    Args:
      steps: f[B, W, S, D], S steps in each of W windows.
      train: Whether dropout is on.

    Returns:
      f[B, W, R], the readout of each window; that of window w depends on
      windows 0..w. R is H, 2 H for mean_max, or S x H for flatten.
    """
    batch, num_windows, num_steps, _ = steps.shape
    x = steps.reshape(batch, num_windows * num_steps, -1).astype(self.dtype)
    # One mask for all steps: another mask each step would disturb the memory.
    x = Dropout(
      self.input_dropout, broadcast_dims=(1,), deterministic=not train
    )(x)
    size = self.hidden_size
    mask = Dropout(self.recurrent_dropout, deterministic=not train)(
      jnp.ones((batch, size), self.dtype)
    )
    kernel = self.param(
      'input_kernel', nn.initializers.lecun_normal(), (x.shape[-1], 4 * size)
    )
    bias = self.param('bias', nn.initializers.zeros, (4 * size,))
    project = (kernel.astype(self.dtype), bias.astype(self.dtype))
    inputs = x.swapaxes(0, 1)
    hoisted = is_native() or batch < _MANY_EXCERPTS
    if hoisted:
      inputs, project = (
        jnp.dot(inputs, project[0]) + project[1][None, None],
        None,
      )
    by_hand = hoisted and train
    axes: Any = (0, nn.broadcast, nn.broadcast)  # untyped; by default an int
    recurrence = nn.scan(
      _LstmStep,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=axes,
      out_axes=0,
    )(size, self.dtype, by_hand, name='recurrence')
    if by_hand:
      scanned = nn.custom_vjp(_hidden, _forward, _backward)
      hidden = scanned(recurrence, inputs, mask)
    else:
      zeros = jnp.zeros_like(mask)
      _, hidden = recurrence((zeros, zeros), inputs, mask, project)
    x = hidden.swapaxes(0, 1).reshape(batch, num_windows, num_steps, size)
    x = read_out_steps(x, self.readout)
    return Dropout(self.output_dropout, deterministic=not train)(x)


def scan_windows(
  steps: jax.Array,
  train: bool,
  *,
  stateful: bool,
  bidirectional: bool,
  **fields: Any,
) -> jax.Array:
  """Applies a `WindowLstm`, and if bidirectional a second one backwards.

  The second one sees each window alone: later windows are not known yet.

  Args:
    steps: f[B, W, S, D], S steps in each of W windows.
    train: Whether dropout is on.
    stateful: Whether a window starts with the final state of the previous one.
    bidirectional: Whether to append the readout of the second LSTM.
    **fields: Fields of both LSTMs.

  Returns:
    f[B, W, R], or f[B, W, 2 R] if bidirectional. Window w depends on windows
    0..w if stateful, otherwise on window w alone.
  """
  alone = steps.reshape(-1, 1, *steps.shape[2:])
  x = WindowLstm(**fields)(steps if stateful else alone, train)
  x = x.reshape(*steps.shape[:2], -1)
  if not bidirectional:
    return x
  back = WindowLstm(**fields, name='backward')(alone[:, :, ::-1], train)
  return jnp.concatenate([x, back.reshape(*x.shape)], axis=-1)


class _LstmStep(nn.Module):
  """A step (Hochreiter and Schmidhuber 1997, with forget gates).

  The hidden state is masked before its product, as in Keras.
  """

  hidden_size: int
  dtype: Dtype
  saves: bool

  @nn.compact
  def __call__(
    self,
    state: State,
    inputs: jax.Array,
    mask: jax.Array,
    project: tuple[jax.Array, jax.Array] | None,
  ) -> tuple[State, Any]:
    """Maps (cell f[B, H], hidden f[B, H]) and f[B, 4 H] to the next state.

    With `project`, kernel f[D, 4 H] and bias f[4 H], inputs are f[B, D].
    Also returns the hidden state f[B, H]; or if `saves`, for the backward pass,
    hidden and cell f[B, H] and gates f[B, 4 H] in the order input, forget,
    candidate, output.
    """
    cell, hidden = state
    kernel = self.param(
      'kernel', _orthogonal_gates, (self.hidden_size, 4 * self.hidden_size)
    )
    if project is not None:
      inputs = jnp.dot(inputs, project[0]) + project[1][None]
    sums = inputs + jnp.dot(hidden * mask, kernel.astype(self.dtype))
    i, f, g, o = jnp.split(sums, 4, axis=-1)
    i, f, g, o = _sigmoid(i), _sigmoid(f), jnp.tanh(g), _sigmoid(o)
    cell = f * cell + i * g
    hidden = o * jnp.tanh(cell)
    if not self.saves:
      return (cell, hidden), hidden
    gates = jnp.concatenate([i, f, g, o], axis=-1)
    return (cell, hidden), (hidden, cell, gates)


def _hidden(
  recurrence: nn.Module, inputs: jax.Array, mask: jax.Array
) -> jax.Array:
  """Maps f[S, B, 4 H] input sums and a mask f[B, H] to f[S, B, H]."""
  return _forward(recurrence, inputs, mask)[0]


def _forward(
  recurrence: nn.Module, inputs: jax.Array, mask: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  zeros = jnp.zeros_like(mask)
  _, (hidden, cell, gates) = recurrence((zeros, zeros), inputs, mask, None)
  kernel = recurrence.variables['params']['kernel']
  return hidden, (hidden, cell, gates, mask, kernel)


def _backward(
  saved: tuple[jax.Array, ...], grad_hidden: jax.Array
) -> tuple[dict[str, dict[str, jax.Array]], jax.Array, jax.Array]:
  """Returns the gradients of the kernel, of the input sums, and of the mask."""
  hidden, cell, gates, mask, kernel = saved
  turned = kernel.astype(hidden.dtype).T
  # Factors that depend on no gradient are computed before the loop: those from
  # the gradients of cell and hidden state to the gradients of the sums.
  i, f, g, o = jnp.split(gates, 4, axis=-1)
  squashed = jnp.tanh(cell)
  of_cell = jnp.concatenate(
    [g * i * (1 - i), _delayed(cell) * f * (1 - f), i * (1 - g * g)], axis=-1
  )
  of_hidden = squashed * o * (1 - o)
  to_cell = o * (1 - squashed * squashed)

  def step(grads: State, at: tuple[jax.Array, ...]) -> tuple[State, jax.Array]:
    """Maps two f[B, H] one step back, and returns f[B, 4 H] of the sums."""
    grad_cell, grad_hidden = grads
    grad_output, of_cell, of_hidden, to_cell, f = at
    grad_hidden += grad_output
    grad_cell += grad_hidden * to_cell
    grad_sums = jnp.concatenate(
      [jnp.tile(grad_cell, 3) * of_cell, grad_hidden * of_hidden], axis=-1
    )
    return (grad_cell * f, jnp.dot(grad_sums, turned) * mask), grad_sums

  zeros = jnp.zeros_like(mask)
  _, grad_sums = jax.lax.scan(
    step,
    (zeros, zeros),
    (grad_hidden, of_cell, of_hidden, to_cell, f),
    reverse=True,
  )
  before = (_delayed(hidden) * mask[None]).reshape(-1, mask.shape[-1])
  grad_kernel = jnp.dot(
    before.T,
    grad_sums.reshape(len(before), -1),
    preferred_element_type=jnp.float32,
  )
  # The gradient of the mask is never used.
  params = {'params': {'kernel': grad_kernel.astype(kernel.dtype)}}
  return params, grad_sums, zeros


def _delayed(x: jax.Array) -> jax.Array:
  """Shifts f[S, B, H] by one step; the first step becomes zero."""
  return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])


def _sigmoid(x: jax.Array) -> jax.Array:
  # On CPU one tanh is faster than an exponential and a division. In bfloat16
  # the sum would round small values to zero.
  wide = x.astype(jnp.float32)
  return (0.5 * jnp.tanh(0.5 * wide) + 0.5).astype(x.dtype)


def _orthogonal_gates(
  key: jax.Array, shape: tuple[int, int], dtype: Dtype = jnp.float32
) -> jax.Array:
  """Returns f[H, 4 H] with an orthogonal square for each gate, as in flax."""
  make = nn.initializers.orthogonal()
  squares = [make(k, (shape[0],) * 2, dtype) for k in jax.random.split(key, 4)]
  return jnp.concatenate(squares, axis=1)


def read_out_steps(x: jax.Array, how: str) -> jax.Array:
  """Turns f[B, W, S, H] into f[B, W, R]; see `LstmConfig.readout`."""
  if how == 'last':
    return x[:, :, -1]
  if how == 'flatten':
    return x.reshape(*x.shape[:2], -1)
  mean = x.mean(axis=2)
  if how == 'mean':
    return mean
  return jnp.concatenate([mean, x.max(axis=2)], axis=-1)


def stack_steps(x: jax.Array, frames: int) -> jax.Array:
  """Turns f[B, W, T, F] into f[B, W, T/frames, frames x F].

  Frames at the end of a window that do not fill a step are cut off.
  """
  batch, num_windows, num_frames, num_bands = x.shape
  steps = num_frames // frames
  x = x[:, :, : steps * frames]
  return x.reshape(batch, num_windows, steps, frames * num_bands)
