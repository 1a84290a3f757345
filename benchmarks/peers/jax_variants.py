"""Our step without each of the means that make it fast, to see what they give.

Each changes the imported modules, so a process has one variant for good.
"""

from collections.abc import Callable

from mgc_jax.models import layers
from mgc_jax.models.cpu import (
  convolution,
  dropout,
  lstm_vjp,
  pooled_convolution,
)
from mgc_jax.system import jax_runtime


def _native_convolution() -> None:
  for module in (convolution, pooled_convolution):
    module.is_native = lambda: True


def _jax_dropout() -> None:
  dropout.is_native = lambda: True


def _products_in_the_loop() -> None:
  lstm_vjp._MANY_EXCERPTS = 0


def _inputs_computed_often() -> None:
  convolution.computed_once = lambda x: x


def _whole_batches() -> None:
  layers._WINDOWS_AT_ONCE = 1 << 30


WITHOUT: dict[str, Callable[[], None]] = {
  'matrix_products': _native_convolution,
  'fused_dropout': _jax_dropout,
  'hoisted_products': _products_in_the_loop,
  'parts_of_batches': _whole_batches,
  'inputs_computed_once': _inputs_computed_often,
  'kept_memory': lambda: None,
}
LEFT_OUT = (*WITHOUT, 'all')


def leave_out(variant: str) -> None:
  """Sets the process up.

  Args:
    variant: default; one of `LEFT_OUT`, without that; or all, without any.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in ('default', *LEFT_OUT):
    raise ValueError(f'variant={variant}: must be default or of {LEFT_OUT}')
  for name, do in WITHOUT.items():
    if variant in (name, 'all'):
      do()
  if variant not in ('kept_memory', 'all'):
    jax_runtime.keep_memory()
