"""Counts the floating-point operations of a function."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params


def count_flops(function: Callable, *args: Any) -> int:
  """Counts multiplications and additions of products and convolutions.

  XLA's own count includes the body of a loop once, and is not available on
  accelerators.

  Args:
    function: a function that JAX can trace; the body of a loop of unknown
      length counts once.
    *args: its arguments, or their shapes.

  Returns:
    Two for each multiplication; elementwise operations do not count.
  """
  return _of(jax.make_jaxpr(function)(*args).jaxpr)


def _of(jaxpr: Any) -> int:
  total = 0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      contracted = params['dimension_numbers'][0][0]
      shape = equation.invars[0].aval.shape
      depth = math.prod(shape[i] for i in contracted)
      total += 2 * depth * equation.outvars[0].aval.size
    elif name == 'conv_general_dilated':
      kernel = equation.invars[1].aval
      filters = kernel.shape[params['dimension_numbers'].rhs_spec[0]]
      # Not kernel.size: each output depends on one filter.
      total += 2 * kernel.size // filters * equation.outvars[0].aval.size
    times = params.get('length', 1) if name == 'scan' else 1
    total += times * sum(map(_of, jaxprs_in_params(params)))
  return total
