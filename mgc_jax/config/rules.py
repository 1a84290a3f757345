"""Rules for the value of a single field; `schema` attaches them to fields."""

import dataclasses
from collections.abc import Callable
from typing import Any

ACTIVATIONS = ('relu', 'elu', 'gelu', 'silu', 'tanh')
SPLITS = ('train', 'valid', 'test')
STEP_READOUTS = ('steps', 'step_means')
_MAX_LAYERS = 64


@dataclasses.dataclass(frozen=True)
class Rule:
  """What the value of a field must be."""

  holds: Callable[[Any], bool]
  requirement: str  # completes the sentence 'must be ...'
  choices: tuple[str, ...] = ()  # if there is a list of them


def one_of(*choices: str) -> Rule:
  """Returns the rule of a field that is one of several words."""
  return Rule(lambda x: x in choices, f'one of {", ".join(choices)}', choices)


def at_least(low: float) -> Rule:
  """Returns the rule `low <= x`."""
  return Rule(lambda x: x >= low, f'at least {low}')


def between(low: float, high: float) -> Rule:
  """Returns the rule `low <= x < high`."""
  return Rule(lambda x: low <= x < high, f'at least {low} and under {high}')


def each_between(kind: type, low: float, high: float) -> Rule:
  """Returns the rule of a list, one number for each layer.

  Args:
    kind: int or float; for the message only.
    low: Smallest allowed number.
    high: The numbers must be smaller than this.
  """
  return Rule(
    lambda xs: len(xs) <= _MAX_LAYERS and all(low <= x < high for x in xs),
    f'at most {_MAX_LAYERS} {kind.__name__}s, each at least {low} and under '
    f'{high}',
  )


POSITIVE = Rule(lambda x: 0 < x < 1e12, 'positive and finite')
RATE = between(0, 1)
SIZES = each_between(int, 1, 100_000)
RATES = each_between(float, 0, 1)
