"""Lists the models that come with the package.

For each: the genres that it knows, its size, its accuracy in cross-validation
with no artist in two splits, and its licence, as its card states them.

Example:
  mgc models
"""

import argparse
import json
import re
import textwrap

from mgc_jax.inference import pretrained
from mgc_jax.system.arguments import Command, Parser
from mgc_jax.system.errors import DataError

_WIDTH = 80
# Where the card of a model states each.
_IN_CARD = {
  'parameters': r'([\d,]+) parameters',
  'elsewhere': r'\*\*On (.+?) \*\*Accuracy\.',
  'accuracy': r'\*\*Accuracy\.\*\* The track accuracy is (.+?):',
  'licence': r'\*\*Licence\.\*\* (.+?) Made by',
}

_OPTIONAL = {'elsewhere'}


def facts(name: str) -> dict[str, str]:
  """Returns what the card and the bundle of a model state.

  The keys are `genres`, `parameters`, `size`, `licence`, `accuracy` in
  cross-validation, and, if it was measured, `elsewhere`: on music that was
  collected by others.

  Args:
    name: of `pretrained.NAMES`.

  Raises:
    DataError: the model is damaged, or its card does not state one of them.
  """
  folder = pretrained.path(name)
  try:
    bundle = json.loads((folder / 'bundle.json').read_text(encoding='utf-8'))
    card = ' '.join((folder / 'README.md').read_text(encoding='utf-8').split())
    found = {
      'genres': ', '.join(bundle['genres']),
      'size': f'{(folder / bundle["weights"]).stat().st_size / 1e6:.1f} MB',
    }
  except (OSError, LookupError, TypeError, ValueError) as error:
    raise DataError(f'{folder}: damaged: {error}') from error
  for what, pattern in _IN_CARD.items():
    match = re.search(pattern, card)
    if match:
      found[what] = ' '.join(match[1].replace('*', '').split())
    elif what not in _OPTIONAL:
      raise DataError(f'{folder}/README.md: does not state the {what}')
  return found


def _text(name: str) -> str:
  found = facts(name)
  default = ' (the default)' if name == pretrained.BEST else ''
  lines = [
    f'{name}{default}: {found["parameters"]} parameters, {found["size"]}'
  ]
  for what in ('genres', 'elsewhere', 'accuracy', 'licence'):
    if what not in found:
      continue
    lines += textwrap.wrap(
      found[what],
      _WIDTH,
      initial_indent=f'  {what + ":":11}',
      subsequent_indent=' ' * 13,
    )
  return '\n'.join(lines)


def _add_arguments(parser: Parser) -> None:
  del parser  # takes no flags


def _run(args: argparse.Namespace) -> None:
  del args
  print('\n\n'.join(_text(name) for name in pretrained.NAMES))


COMMAND = Command(__doc__, _add_arguments, _run)
