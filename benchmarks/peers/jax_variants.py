"""Variants of our step, each without one of the optimisations.

A variant changes the imported modules, so a process can apply only one.
"""

from collections.abc import Callable

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


def _products_in_loop() -> None:
  lstm_vjp._MANY_EXCERPTS = 0


def _inputs_recomputed() -> None:
  convolution.computed_once = lambda x: x


# How to disable each optimisation.
_DISABLE: dict[str, Callable[[], None]] = {
  'matrix_products': _native_convolution,
  'fused_dropout': _jax_dropout,
  'hoisted_products': _products_in_loop,
  'inputs_computed_once': _inputs_recomputed,
  'kept_memory': lambda: None,
}
ABLATIONS = (*_DISABLE, 'all')


def apply_variant(variant: str) -> None:
  """Disables optimisations in this process.

  Args:
    variant: default to disable none, the name of an optimisation in `ABLATIONS`
      to disable it, or all.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in ('default', *ABLATIONS):
    raise ValueError(
      f'variant={variant}: must be default or one of {", ".join(ABLATIONS)}'
    )
  for name, disable in _DISABLE.items():
    if variant in (name, 'all'):
      disable()
  if variant not in ('kept_memory', 'all'):
    jax_runtime.keep_memory()
