"""Parsers of command lines: argparse, with the conventions of this package.

Flags and words may be mixed, a flag cannot be abbreviated, and a leading `~` in
a value is replaced by the home directory: a shell does that at the start of a
word only, not after the `=` of `--to=~/Sorted`.
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from mgc_jax.system.errors import ConfigError

# What a command does when it is run again after Ctrl-C.
STARTS_AGAIN = 'the same command starts from the beginning'
CONTINUES = 'the same command continues; what is finished is kept'

_Number = TypeVar('_Number', int, float)


@dataclasses.dataclass(frozen=True)
class Command:
  """A command: its help, its flags, and what it runs.

  Attributes:
    text: shown by `--help`: the docstring of a module, which ends with
      examples.
    add_arguments: defines the flags and words that the command takes.
    run: called with the parsed values; raises `ConfigError` or `DataError` for
      what the user can correct. None for a group of other commands.
    after_interrupt: what the same command does after Ctrl-C.
  """

  text: str | None
  add_arguments: Callable[['Parser'], None]
  run: Callable[[argparse.Namespace], None] | None = None
  after_interrupt: str = STARTS_AGAIN

  def parser(self, prog: str) -> 'Parser':
    """Returns the parser of this command.

    Args:
      prog: the words that start the command, for messages.
    """
    parser = Parser(prog=prog)
    self.fill(parser)
    return parser

  def fill(self, parser: 'Parser') -> None:
    """Adds the help, the flags and the function to a parser."""
    parser.description = self.text
    self.add_arguments(parser)
    if self.run:
      parser.set_defaults(run=self.run, after_interrupt=self.after_interrupt)


class _Formatter(argparse.RawDescriptionHelpFormatter):
  """Keeps the lines of the description, and shows defaults."""

  def _get_help_string(self, action: argparse.Action) -> str:
    text, default = action.help or '', action.default
    if (
      default is None or isinstance(default, bool) or not action.option_strings
    ):
      return text
    if default in ([], argparse.SUPPRESS):
      return text
    shown = ','.join(default) if isinstance(default, list) else default
    return f'{text} Default: {str(shown).replace("%", "%%")}.'


class Parser(argparse.ArgumentParser):
  """Parses the flags and words of one command, or of a group of commands."""

  def __init__(self, **kwargs: Any):
    """Takes what `argparse.ArgumentParser` takes."""
    super().__init__(
      allow_abbrev=False, formatter_class=_Formatter, add_help=False, **kwargs
    )
    self._takes_config = False
    self.add_argument(
      '--help', '-h', action='help', help='Show this message and exit.'
    )

  def add_config(self, required: bool = True) -> None:
    """Adds `--config`, and takes overrides of its fields."""
    self.add_overrides()
    self.add_argument(
      '--config',
      required=required,
      metavar='FILE',
      help='The config file, such as configs/crnn.py, or the name of one that '
      'comes with the package, such as crnn. --config.FIELD=VALUE overrides '
      'a field.',
    )

  def add_overrides(self) -> None:
    """Takes `--config.FIELD=VALUE`; `overrides` has the list of them."""
    self._takes_config = True

  def add_commands(self) -> Any:
    """Returns what `add_parser` adds a command of this group to."""
    return self.add_subparsers(
      title='commands', dest='command', metavar='COMMAND', required=True
    )

  def parse_known_args(
    self, args: Sequence[str] | None = None, namespace: Any = None
  ) -> Any:
    """Parses a command line; exits with 2 and a message if it is wrong.

    Args:
      args: without the program's name. Default: those of this process.
      namespace: receives the values; a new one by default.

    Raises:
      ConfigError: a value needs a home directory, and this user has none.
    """
    words = list(sys.argv[1:] if args is None else args)
    # A group leaves the words to the parser of the command; argcomplete needs
    # them as they are typed.
    if not self._subparsers and '_ARGCOMPLETE' not in os.environ:
      words, overrides = self._sorted(words)
      self.set_defaults(overrides=overrides)
    found, unknown = super().parse_known_args(words, namespace)
    for word in unknown:
      kind = 'unknown flag' if word.startswith('-') else 'unexpected word'
      self.error(f'{kind}: {word}')
    for action in self._actions:
      value = getattr(found, action.dest, None)
      expand = expand_home if action.option_strings else _expand_word
      if isinstance(value, str):
        setattr(found, action.dest, expand(value))
      elif isinstance(value, list):
        changed = [expand(x) if isinstance(x, str) else x for x in value]
        setattr(found, action.dest, changed)
    return found, []

  def _sorted(self, words: list[str]) -> tuple[list[str], list[str]]:
    """Returns the flags before the other words, and the overrides apart."""
    options: list[str] = []
    overrides: list[str] = []
    others: list[str] = []
    takes_words = any(not action.option_strings for action in self._actions)
    rest = collections.deque(words)
    while rest:
      word = rest.popleft()
      if word == '--':
        others += rest
        break
      if not re.match('-.', word):
        others.append(word)
      elif self._takes_config and re.match(r'--?config\.', word):
        if '=' not in word and not takes_words and rest and rest[0][:1] != '-':
          word = f'{word}={rest.popleft()}'
        overrides.append(f'--{word.lstrip("-")}')
      else:
        options += self._with_value(word, rest)
    if others and not takes_words:
      self.error(f'unexpected word: {others[0]}')
    return [*options, '--', *others] if others else options, overrides

  def _with_value(self, word: str, rest: collections.deque[str]) -> list[str]:
    """Returns a flag and the value that follows it, if it takes one."""
    action = self._option_string_actions.get(word)
    if action is None or action.nargs == 0 or not rest:
      return [word]
    return [f'{word}={rest.popleft()}']

  def _print_message(self, message: str, file: Any = None) -> None:
    """Writes help; unlike argparse's own, it does not hide that it failed."""
    (file or sys.stderr).write(message)

  def error(self, message: str) -> NoReturn:
    """Exits with 2 after a message."""
    print(f'usage error: {message}', file=sys.stderr)
    print(f'Try: {self.prog} --help', file=sys.stderr)
    sys.exit(2)


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
  """Returns a converter for `type=`: an integer from low to high."""

  def convert(text: str) -> int:
    try:
      return _in_range(int(text), low, high)
    except ValueError:
      raise _wrong(text, 'a whole number', low, high) from None

  return convert


def number_or_all(text: str) -> int | None:
  """Converts a number of things, at least 1, or `all`, which becomes None."""
  return None if text == 'all' else whole_number(1)(text)


def real_number(
  low: float, high: float | None = None
) -> Callable[[str], float]:
  """Returns a converter for `type=`: a number from low to high."""

  def convert(text: str) -> float:
    try:
      return _in_range(float(text), low, high)
    except ValueError:
      raise _wrong(text, 'a number', low, high) from None

  return convert


def _in_range(value: _Number, low: float, high: float | None) -> _Number:
  if value >= low and (high is None or value <= high):
    return value
  raise ValueError


def _wrong(
  text: str, kind: str, low: float, high: float | None
) -> argparse.ArgumentTypeError:
  bounds = f'of at least {low}' if high is None else f'from {low} to {high}'
  return argparse.ArgumentTypeError(f'{text}: must be {kind} {bounds}')


def comma_list(text: str) -> list[str]:
  """Converts `a,b,c`, for `type=`; an empty text gives an empty list."""
  return [part.strip() for part in text.split(',')] if text else []


def comma_list_of(known: Sequence[str]) -> Callable[[str], list[str]]:
  """Returns a converter for `type=`: `a,b`, each of them one of `known`."""

  def convert(text: str) -> list[str]:
    words = comma_list(text)
    for word in words or ['']:
      if word not in known:
        raise argparse.ArgumentTypeError(
          f'{word or "nothing"}: must be one or several of {",".join(known)}'
        )
    return words

  return convert


def file_path(flag: str, text: str | None) -> pathlib.Path | None:
  """Returns the file given by a flag; None if it is not set.

  Args:
    flag: its name, for messages.
    text: its value.

  Raises:
    ConfigError: it is a folder, or empty.
  """
  if text is None:
    return None
  path = pathlib.Path(text)
  if not path.name or path.is_dir():
    raise ConfigError(f'--{flag}={text}: a folder; specify a file')
  return path


def expand_home(path: str) -> str:
  """Returns a path with a leading `~` replaced by the home directory.

  Args:
    path: any text. It is returned unchanged if it does not start with `~`, or
      if the user after the `~` does not exist.

  Raises:
    ConfigError: it starts with `~` and the user has no home directory.
  """
  if not path.startswith('~'):
    return path
  expanded = os.path.expanduser(path)
  if expanded.split('/')[0] == '~':
    raise ConfigError(
      f'{path}: this user has no home directory; use an absolute path'
    )
  return expanded


def _expand_word(word: str) -> str:
  """Expands a word that is not a flag, unless a file has just that name."""
  return word if os.path.lexists(word) else expand_home(word)
