"""Classifies music by genre, and trains, evaluates and studies classifiers.

`mgc COMMAND --help` explains a command and shows examples.

Examples:
  mgc predict song.mp3
  mgc train --config=crnn --config.data.source=folder --config.data.root=/music
"""
# PYTHON_ARGCOMPLETE_OK

import importlib
import os
import shlex
import sys

import mgc_jax
from mgc_jax.system import command_line
from mgc_jax.system.arguments import Command, Parser

# Each with its `Command` and what it does. Only the chosen one is imported.
COMMANDS = {
  'predict': ('mgc_jax.predict:COMMAND', 'classify music files by genre'),
  'collection': (
    'mgc_jax.collection.__main__:COMMAND',
    'index, sort and tag a collection, find similar songs',
  ),
  'demo': (
    'mgc_jax.demo.__main__:COMMAND',
    'serve a web page that classifies songs',
  ),
  'models': (
    'mgc_jax.inference.list_models:COMMAND',
    'list the models that come with the package',
  ),
  'export': (
    'mgc_jax.inference.export:COMMAND',
    'write a model as one file that runs without this package',
  ),
  'train': ('mgc_jax.main:TRAIN', 'train a model, and evaluate it'),
  'evaluate': ('mgc_jax.main:EVALUATE', 'evaluate a model on other data'),
  'config': (
    'mgc_jax.config.show:COMMAND',
    'show every field of a configuration',
  ),
  'prepare': (
    'mgc_jax.datasets.prepare:COMMAND',
    'compute the features of a data set',
  ),
  'fetch': (
    'mgc_jax.datasets.published.fetch:COMMAND',
    'download GTZAN or FMA',
  ),
  'verify': (
    'mgc_jax.datasets.verify:COMMAND',
    'check music files against their list',
  ),
  'leaks': (
    'mgc_jax.datasets.leaks:COMMAND',
    'find artists and audio that two splits share',
  ),
  'sweep': (
    'mgc_jax.experiments.sweep.command:COMMAND',
    'compare settings over several seeds',
  ),
  'cross-validate': (
    'mgc_jax.experiments.cross_validation:COMMAND',
    'combine the folds of a cross-validation',
  ),
  'compare': (
    'mgc_jax.experiments.comparison:COMMAND',
    'compare two models on the same tracks',
  ),
  'leave-out': (
    'mgc_jax.experiments.left_out:COMMAND',
    'test on each collection a model trained on the others',
  ),
  'leakage': (
    'mgc_jax.experiments.leakage.command:COMMAND',
    'measure how much a leaking split inflates accuracy',
  ),
  'probe': (
    'mgc_jax.experiments.source_probe:COMMAND',
    'test whether collections differ by sound alone',
  ),
  'encoders': (
    'mgc_jax.experiments.encoders.command:COMMAND',
    'build the pretrained encoder, or convert its published output',
  ),
  'build-models': (
    'mgc_jax.experiments.shipped_models.build:COMMAND',
    'train the models that come with the package',
  ),
}


def _parser(words: list[str]) -> Parser:
  """Returns the parser of all commands, with the flags of the chosen one.

  Args:
    words: the command line, without the program's name.
  """
  parser = Parser(prog='mgc', description=__doc__)
  parser.add_argument(
    '--version',
    action='version',
    version=f'mgc_jax {mgc_jax.__version__}',
    help='Show the version and exit.',
  )
  chosen = next((word for word in words if not word.startswith('-')), None)
  commands = parser.add_commands()
  for name, (place, text) in COMMANDS.items():
    one = commands.add_parser(name, help=text)
    if name == chosen:
      module, _, attribute = place.partition(':')
      command: Command = getattr(importlib.import_module(module), attribute)
      command.fill(one)
  return parser


def _complete() -> None:
  """Prints what may follow in a shell, where argcomplete is installed."""
  try:
    import argcomplete  # pyright: ignore[reportMissingImports]
  except ImportError:
    return
  line = os.environ.get('COMP_LINE', '')
  argcomplete.autocomplete(_parser(shlex.split(line)[1:]))


def main() -> None:
  """Runs the command that the command line selects."""
  if '_ARGCOMPLETE' in os.environ:
    _complete()
  command_line.run_parser(lambda: _parser(sys.argv[1:]))


if __name__ == '__main__':
  main()
