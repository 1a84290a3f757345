"""Our step without each of the means that make it fast, to see what they give.

Each changes the imported modules, so a process has one variant for good.
"""

from collections.abc import Callable

from mgc_jax import runtime
from mgc_jax.models import (
  convolution,
  dropout,
  layers,
  pooled_convolution,
  recurrence,
)


def _native_convolution() -> None:
  for module in (convolution, pooled_convolution, layers):
    module.is_native = lambda: True


def _jax_dropout() -> None:
  dropout.is_native = lambda: True


def _differentiated_scan() -> None:
  recurrence._MANY_EXCERPTS = 0


def _whole_batches() -> None:
  layers._WINDOWS_AT_ONCE = 1 << 30


WITHOUT: dict[str, Callable[[], None]] = {
  'native_convolution': _native_convolution,
  'jax_dropout': _jax_dropout,
  'differentiated_scan': _differentiated_scan,
  'whole_batches': _whole_batches,
  'fresh_memory': lambda: None,
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
  if variant not in ('fresh_memory', 'all'):
    runtime.keep_memory()
