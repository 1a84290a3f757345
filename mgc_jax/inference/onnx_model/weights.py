"""The weights of a module and of what it consists of, by name."""

from typing import Any, Self

import numpy as np
from flax.traverse_util import flatten_dict


class Weights:
  """Weights by their names joined with '/', relative to a module."""

  def __init__(self, variables: Any, prefix: str = ''):
    """Flattens the variables of a Flax module.

    Args:
      variables: `params` and `batch_stats`, or a flat dictionary of both.
      prefix: the path of the module, with a '/' at its end.
    """
    first = next(iter(variables))
    self._flat: dict[str, Any] = (
      variables if '/' in first else flatten_dict(variables, sep='/')
    )
    self._prefix = prefix

  def __getitem__(self, name: str) -> np.ndarray:
    """Returns f32[...] of a parameter."""
    return self._read('params', name)

  def of(self, module: str) -> Self:
    """Returns the weights of a module in this one."""
    return type(self)(self._flat, f'{self._prefix}{module}/')

  def norm(self, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the factor and the summand that a batch norm is in evaluation.

    Args:
      epsilon: what is added to the variance.
    """
    scale = self['scale'] / np.sqrt(
      self._read('batch_stats', 'var') + np.float32(epsilon)
    )
    return scale, self['bias'] - self._read('batch_stats', 'mean') * scale

  def _read(self, collection: str, name: str) -> np.ndarray:
    path = f'{collection}/{self._prefix}{name}'
    return np.asarray(self._flat[path], np.float32)
