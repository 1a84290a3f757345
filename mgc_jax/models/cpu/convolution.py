"""Convolution and max-pooling of feature maps f[C, T, F, B], batch last.

On accelerators, XLA's own convolution is used, which chooses its own layout. It
is slow on CPU, so there a convolution becomes one matrix product: the input is
copied into patches as wide as the kernel and one row high, and the rows of the
kernel are summed after the product. That needs a third of the memory of whole
patches. With the batch as the last axis, patches and sums are loops over
contiguous memory. docs/PERFORMANCE_NOTES.md lists the variants that were timed.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

# With fewer input channels (the first layer), products over columns alone are
# too narrow to be fast, and whole patches are small.
FEW_CHANNELS = 8


_PORTABLE = contextvars.ContextVar('portable', default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
  """Makes models traced inside the context the same for every platform."""
  token = _PORTABLE.set(True)
  try:
    yield
  finally:
    _PORTABLE.reset(token)


def is_native() -> bool:
  """Returns whether XLA's own convolution is used, as on accelerators."""
  return _PORTABLE.get() or jax.default_backend() != 'cpu'


def conv(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
  """Convolves over time and bands, stride 1.

  Args:
    x: f[C, T, F, B].
    kernel: f[kt, kf, C, O].
    padding: SAME or VALID.

  Returns:
    f[O, T', F', B].
  """
  if is_native():
    return native_conv(x, kernel, padding)
  return product_conv(x, kernel, padding)


def native_conv(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
  """Computes `conv` with XLA's own convolution."""
  if _PORTABLE.get():  # the only layout that all runtimes support
    moved = lax.conv_general_dilated(
      x.transpose(3, 1, 2, 0),
      kernel,
      (1, 1),
      padding,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    return moved.transpose(3, 1, 2, 0)
  return lax.conv_general_dilated(
    x, kernel, (1, 1), padding, dimension_numbers=('CHWN', 'HWIO', 'CHWN')
  )


def computed_once(x: jax.Array) -> jax.Array:
  """Returns f[...] unchanged, and keeps XLA from recomputing it for each use.

  XLA's CPU compiler fuses the computation of a map into every patch that reads
  it, even an exponential, and removes `lax.optimization_barrier` before that.
  It fuses nothing into the operands of a loop, so this loop overwrites an
  element with itself.
  """

  def touch(i: jax.Array, x: jax.Array) -> jax.Array:
    at = (i, *(0,) * (x.ndim - 1))
    element = lax.dynamic_slice(x, at, (1,) * x.ndim)
    return lax.dynamic_update_slice(x, element, at)

  # Two iterations, because the compiler removes a loop of one.
  return lax.fori_loop(0, 2, touch, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product_conv(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
  """Computes `conv` and its gradients with matrix products."""
  return _convolve(computed_once(x), kernel, padding)


def _convolve(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
  x = with_padding(x, kernel, padding)
  if len(x) >= FEW_CHANNELS:
    return _columns_then_rows(x, kernel)
  patches = _shifted(_shifted(x, 1, len(kernel)), 2, kernel.shape[1])
  # In the order in which the shifts were stacked: columns, rows, channels.
  weights = kernel.transpose(3, 1, 0, 2).reshape(kernel.shape[3], -1)
  return product(weights, patches).astype(x.dtype)


def _columns_then_rows(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves f[C, T, F, B] without padding."""
  rows, columns, channels, filters = kernel.shape
  patches = _shifted(x, 2, columns)  # f[kf C, T, F', B]
  weights = kernel.transpose(0, 3, 1, 2)
  weights = weights.reshape(rows * filters, columns * channels)
  parts = product(weights, patches)
  parts = parts.reshape(rows, filters, *parts.shape[1:])
  num_rows = x.shape[1] - rows + 1
  total = parts[0, :, :num_rows]
  for i in range(1, rows):
    total += parts[i, :, i : i + num_rows]
  return total.astype(x.dtype)


def _conv_forward(
  x: jax.Array, kernel: jax.Array, padding: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  x = computed_once(x)
  return _convolve(x, kernel, padding), (x, kernel)


def _conv_backward(
  padding: str, saved: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the gradients of input and kernel, from one set of patches."""
  x, kernel = saved
  grad = computed_once(grad)
  rows, columns, channels, filters = kernel.shape
  before, after = _before(kernel, padding), _after(kernel, padding)
  # A convolution of the gradient with the kernel rotated by 180 degrees.
  padded = _pad(
    grad,
    (rows - 1 - before[0], columns - 1 - before[1]),
    (rows - 1 - after[0], columns - 1 - after[1]),
  )
  turned = kernel[::-1, ::-1].swapaxes(2, 3)
  grad_x = _columns_then_rows(padded, turned)
  if channels < FEW_CHANNELS:
    x = with_padding(x, kernel, padding)
    patches = _shifted(_shifted(x, 1, rows), 2, columns)
    found = inner(patches, grad).reshape(columns, rows, channels, filters)
    return grad_x, found.swapaxes(0, 1).astype(kernel.dtype)
  patches = _shifted(padded, 2, columns)  # f[kf O, T', F, B], used for both
  x = _shifted(_pad(x, (rows - 1, 0), (rows - 1, 0)), 1, rows)
  found = inner(x, patches).reshape(rows, channels, columns, filters)
  found = found[:, :, ::-1].swapaxes(1, 2)
  return grad_x, found.astype(kernel.dtype)


product_conv.defvjp(_conv_forward, _conv_backward)


def max_pool(x: jax.Array, pool: tuple[int, int]) -> jax.Array:
  """Returns the maximum of each non-overlapping window; a remainder is cut off.

  Args:
    x: f[C, T, F, B].
    pool: Frames and bands of a window.

  Returns:
    f[C, T / frames, F / bands, B]. If several values are equal to the maximum,
    the gradient goes to the first of them.
  """
  if pool == (1, 1):
    return x
  times, bands = (n // p * p for n, p in zip(x.shape[1:3], pool, strict=True))
  return _max_pool(x[:, :times, :bands], pool)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: jax.Array, pool: tuple[int, int]) -> jax.Array:
  return functools.reduce(jnp.maximum, _members(x, pool))


def _pool_forward(
  x: jax.Array, pool: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
  return _max_pool(x, pool), first_maximum(_members(x, pool))


def _pool_backward(
  pool: tuple[int, int], chosen: jax.Array, grad: jax.Array
) -> tuple[jax.Array]:
  number = jnp.arange(pool[0] * pool[1], dtype=chosen.dtype)
  number = number.reshape(1, 1, pool[0], 1, pool[1], 1)
  spread = jnp.where(
    chosen[:, :, None, :, None] == number, grad[:, :, None, :, None], 0
  )
  channels, times, bands, batch = grad.shape
  shape = (channels, times * pool[0], bands * pool[1], batch)
  return (spread.reshape(shape),)


_max_pool.defvjp(_pool_forward, _pool_backward)


def _members(x: jax.Array, pool: tuple[int, int]) -> list[jax.Array]:
  """Returns f[C, T', F', B] for each position in a pooling window."""
  channels, times, bands, batch = x.shape
  times, bands = times // pool[0], bands // pool[1]
  x = x.reshape(channels, times, pool[0], bands, pool[1], batch)
  return [x[:, :, i, :, j] for i in range(pool[0]) for j in range(pool[1])]


def first_maximum(members: list[jax.Array]) -> jax.Array:
  """Returns the index of the first maximum, in the smallest integer type."""
  dtype = jnp.uint8 if len(members) <= 256 else jnp.int32
  best, chosen = members[0], jnp.zeros(members[0].shape, dtype)
  for i, member in enumerate(members[1:], 1):
    chosen = jnp.where(member > best, jnp.array(i, dtype), chosen)
    best = jnp.maximum(best, member)
  return chosen


def product(weights: jax.Array, x: jax.Array) -> jax.Array:
  """Multiplies f[M, K] and f[K, T, F, B] into f32[M, T, F, B]."""
  return lax.dot_general(
    weights,
    x,
    (((1,), (0,)), ((), ())),
    preferred_element_type=jnp.float32,
  )


def inner(x: jax.Array, y: jax.Array) -> jax.Array:
  """Multiplies f[M, T, F, B] and f[K, T, F, B] into f32[M, K]."""
  # Flat: a product over several axes would first transpose one operand.
  return jnp.matmul(
    x.reshape(len(x), -1),
    y.reshape(len(y), -1).T,
    preferred_element_type=jnp.float32,
  )


def with_padding(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
  """Returns f[C, T, F, B] with the zero padding of SAME, or none for VALID."""
  return _pad(x, _before(kernel, padding), _after(kernel, padding))


def _shifted(x: jax.Array, axis: int, size: int) -> jax.Array:
  """Stacks shifted copies along the channels, one per kernel position."""
  length = x.shape[axis] - size + 1
  return jnp.concatenate(
    [lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(size)]
  )


def _before(kernel: jax.Array, padding: str) -> tuple[int, int]:
  same = padding == 'SAME'
  return (len(kernel) - 1) // 2 * same, (kernel.shape[1] - 1) // 2 * same


def _after(kernel: jax.Array, padding: str) -> tuple[int, int]:
  same = padding == 'SAME'
  return len(kernel) // 2 * same, kernel.shape[1] // 2 * same


def _pad(
  x: jax.Array, before: tuple[int, int], after: tuple[int, int]
) -> jax.Array:
  """Pads frames and bands with zeros."""
  if not any(before + after):
    return x
  widths = (*zip(before, after, strict=True),)
  return jnp.pad(x, ((0, 0), *widths, (0, 0)))
