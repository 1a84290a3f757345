"""A flag of several commands for experiments is the same in all of them."""

import pytest

from mgc_jax.experiments import comparison, cross_validation, left_out
from mgc_jax.experiments.leakage import command as leakage
from mgc_jax.experiments.shipped_models import build
from mgc_jax.experiments.sweep import command as sweep

MODULES = (build, comparison, cross_validation, leakage, left_out, sweep)


def _flag(module, name):
  """Returns what a command says about a flag; None if it has none."""
  actions = module.COMMAND.parser('mgc')._option_string_actions
  if name not in actions:
    return None
  found = actions[name]
  # The default and, for folders, the help depend on the command.
  text = None if 'workdir' in name else found.help
  return found.type, found.metavar, found.required, found.nargs, text


@pytest.mark.parametrize(
  ('name', 'number'),
  [('--seeds', 3), ('--workdir', 4), ('--workdirs', 2), ('--configs', 2)],
)
def test_commands_agree_on_a_flag(name, number):
  found = [_flag(module, name) for module in MODULES]
  found = [flag for flag in found if flag]
  assert len(found) == number and len(set(found)) == 1
