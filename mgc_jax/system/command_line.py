"""What every command line shares: flags, exit codes, no traceback."""

import contextlib
import errno
import functools
import io
import logging
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict

from mgc_jax.system.errors import ConfigError, DataError

# config_flags lets errors of the config file and of overrides through.
FLAG_ERRORS = (
  flags.Error,
  ArithmeticError,
  AssertionError,
  AttributeError,
  ImportError,
  LookupError,
  NameError,
  OSError,
  SyntaxError,
  TypeError,
  ValueError,
)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SIGPIPE_CODE = 141  # as the shell names the end of a program without a reader


def flag_message(error: Exception) -> str:
  """Returns what one of `FLAG_ERRORS` says, in words for a person."""
  message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
  found = re.fullmatch(r'["\']+(\w+)["\']+(?:\n(Did you .*))?', message)
  if found:  # ConfigDict's own
    hint = f'{found[2]} ' if found[2] else ''
    return (
      f'config: no field {found[1]}; {hint}mgc_jax/config/schema.py lists all'
    )
  return message


def parse_flags(argv: Sequence[str], takes_words: bool = False) -> list[str]:
  """Parses flags; exits with 2 and one message where they are wrong.

  A leading `~` in a value stands for the home directory: a shell replaces it
  at the start of a word only, not after the `=` of `--to=~/Sorted`.

  Args:
    argv: the command line, the program's name first.
    takes_words: whether words that are not flags are allowed.

  Returns:
    The program's name and the words that are not flags.
  """
  try:
    rest = flags.FLAGS(_with_config_path_expanded(argv))
    flags.FLAGS.validate_all_flags()
    if 'config' in flags.FLAGS and not isinstance(flags.FLAGS.config, str):
      _ = flags.FLAGS.config.seed  # only now is a failure to load it raised
    if len(rest) > 1 and not takes_words:
      raise flags.UnrecognizedFlagError(rest[1], ' '.join(rest[1:]))
    _expand_flags()
    return [rest[0], *map(_expand_word, rest[1:])]
  except BrokenPipeError:  # the reader of --help has gone
    raise
  except FLAG_ERRORS as error:
    print(f'usage error: {flag_message(error)}', file=sys.stderr)
    print(f'Try: python -m {_module_name()} --help', file=sys.stderr)
    sys.exit(2)


def expand_home(path: str) -> str:
  """Returns a path with a leading `~` replaced by the home directory.

  Args:
    path: any text. It is returned as it is where it does not start with `~`, or
      where it names a user who does not exist.

  Raises:
    ConfigError: it names the home directory of a user who has none.
  """
  if not path.startswith('~'):
    return path
  expanded = os.path.expanduser(path)
  if expanded.split('/')[0] == '~':
    raise ConfigError(
      f'{path}: this user has no home directory; write the path in full'
    )
  return expanded


def expand_config(config: ConfigDict) -> None:
  """Replaces a leading `~` in every text field, as `expand_home` does.

  Args:
    config: changed in place. Lists are left alone: they hold names, not paths.

  Raises:
    ConfigError: a field needs a home directory, and this user has none.
  """
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      expand_config(value)
    elif isinstance(value, str) and value.startswith('~'):
      config[name] = expand_home(value)


def _with_config_path_expanded(argv: Sequence[str]) -> list[str]:
  """Expands the path of the config file, which is read during parsing."""
  return [
    re.sub(r'^(--?config=)(~.*)', lambda m: m[1] + expand_home(m[2]), word)
    for word in argv
  ]


def _expand_flags() -> None:
  for name in flags.FLAGS:
    flag = flags.FLAGS[name]
    if isinstance(flag.value, ConfigDict):
      expand_config(flag.value)
    elif isinstance(flag.value, str) and flag.value.startswith('~'):
      flag.value = expand_home(flag.value)
    elif isinstance(flag.value, list):
      flag.value = [
        expand_home(part) if isinstance(part, str) else part
        for part in flag.value
      ]


def _expand_word(word: str) -> str:
  """Expands a word that is not a flag, unless a file has just that name."""
  return word if os.path.lexists(word) else expand_home(word)


def run(main: Callable[..., None], takes_words: bool = False) -> None:
  """Runs a command: 0 when done, 1 for bad data, 2 for bad usage.

  Args:
    main: takes nothing, reads its flags, and raises `ConfigError` or
      `DataError` for what a person can mend. Any other exception is a fault of
      this package and shows its traceback.
    takes_words: whether it takes the list of the words that are no flags; where
      not, one is wrong usage.
  """
  _open_closed_streams()
  # Names of files need not be text; they are shown nevertheless.
  if isinstance(sys.stdout, io.TextIOWrapper):  # unless a caller replaced it
    sys.stdout.reconfigure(errors='backslashreplace')
  _log_to_stderr()
  with _handling_lost_output():
    app.run(
      lambda argv: _exit_code(
        functools.partial(main, argv[1:]) if takes_words else main
      ),
      flags_parser=functools.partial(parse_flags, takes_words=takes_words),
    )


def _open_closed_streams() -> None:
  """Replaces standard streams that were closed by the caller, as by `>&-`.

  Python has None in their place, and the first files that a process opens would
  get their numbers, so that what C libraries print would end up in those files.
  """
  for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, mode))


@contextlib.contextmanager
def _handling_lost_output() -> Iterator[None]:
  """Ends the process where its output can no longer be written.

  A reader that has gone, as `head` has after ten lines, is not an error; a full
  disk is one.
  """
  try:
    try:
      yield
    except SystemExit:
      sys.stdout.flush()  # the interpreter would report a failure at length
      raise
  except BrokenPipeError:
    _let_go_of_stdout()
    sys.exit(_SIGPIPE_CODE)
  except OSError as error:
    if error.errno not in _FULL:
      raise
    _let_go_of_stdout()
    print(f'error: cannot write: {error}', file=sys.stderr)
    sys.exit(1)


def _log_to_stderr() -> None:
  """Shows this package's messages, and of the libraries only errors."""
  # Read when TensorFlow is imported, which is later; without oneDNN, which
  # the input pipeline has no use for, it also says nothing about oneDNN.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  # What they log before they raise is said once, by what they raise.
  absl_logging.set_verbosity(absl_logging.FATAL)
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  logger = logging.getLogger('mgc_jax')
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False


def _exit_code(main: Callable[[], None]) -> int:
  try:
    main()
  except (ConfigError, DataError, KeyboardInterrupt) as error:
    return explain(error)
  return 0


def _let_go_of_stdout() -> None:
  """Discards what is still buffered; it would fail once more at the end."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def file_of(flag: str) -> pathlib.Path | None:
  """Returns the file that a flag names, None where it is not set.

  Args:
    flag: its name.

  Raises:
    ConfigError: it names a folder, or nothing.
  """
  text = flags.FLAGS[flag].value
  if text is None:
    return None
  path = pathlib.Path(text)
  if not path.name or path.is_dir():
    raise ConfigError(f'--{flag}={text}: a folder; name a file')
  return path


def explain(error: BaseException) -> int:
  """Says what went wrong to a person, and returns the exit code for it.

  Args:
    error: anything but `ConfigError`, `DataError` and an interrupt shows its
      traceback.
  """
  if isinstance(error, KeyboardInterrupt):
    print('interrupted; the same command continues', file=sys.stderr)
    return 130
  if not isinstance(error, ConfigError | DataError):
    traceback.print_exception(error)
    return 1
  print(f'error: {error}', file=sys.stderr)
  return 2 if isinstance(error, ConfigError) else 1


def _module_name() -> str:
  spec = getattr(sys.modules['__main__'], '__spec__', None)
  return spec.name.removesuffix('.__main__') if spec else 'mgc_jax.main'
