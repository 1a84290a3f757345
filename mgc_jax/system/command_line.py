"""What every command line shares: exit codes, streams, no traceback."""

import contextlib
import errno
import functools
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator

from absl import logging as absl_logging

from mgc_jax.system.arguments import STARTS_AGAIN, Command, Parser
from mgc_jax.system.errors import ConfigError, DataError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SIGPIPE_CODE = 141  # as the shell names the end of a program without a reader

# Packages that only an extra of this package installs.
_EXTRAS = {
  'etils': 'train',
  'optax': 'train',
  'orbax': 'train',
  'sklearn': 'train',
  'tensorflow': 'train',
  'tensorflow_datasets': 'train',
  'watchdog': 'watch',
}


def run(command: Command, prog: str) -> None:
  """Runs a command, and exits: 0 when done, 1 for bad data, 2 for bad usage.

  Args:
    command: raises `ConfigError` or `DataError` for what the user can correct.
      Any other exception is a fault of this package and shows its traceback.
    prog: the words that start it, for messages.
  """
  run_parser(functools.partial(command.parser, prog))


def run_parser(make_parser: Callable[[], Parser]) -> None:
  """Runs the command that a parser finds, as `run` does.

  Args:
    make_parser: returns a parser that sets `run`.
  """
  _open_closed_streams()
  # File names may not be valid text, but are still printed.
  if isinstance(sys.stdout, io.TextIOWrapper):  # unless a caller replaced it
    sys.stdout.reconfigure(errors='backslashreplace')
  _log_to_stderr()
  with _handling_lost_output():
    sys.exit(_exit_code(make_parser))


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

  A closed output pipe, as of `head` after ten lines, is not an error; a full
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
  # Their log messages repeat the exception, so they are suppressed.
  absl_logging.set_verbosity(absl_logging.FATAL)
  absl_logging.use_absl_handler()
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
  logger = logging.getLogger('mgc_jax')
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False


def _exit_code(make_parser: Callable[[], Parser]) -> int:
  after_interrupt = STARTS_AGAIN
  try:
    args = make_parser().parse_args()
    after_interrupt = args.after_interrupt
    args.run(args)
  except (
    ConfigError,
    DataError,
    KeyboardInterrupt,
    ModuleNotFoundError,
  ) as error:
    return explain(error, after_interrupt)
  return 0


def _let_go_of_stdout() -> None:
  """Discards what is still buffered; it would fail once more at the end."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain(error: BaseException, after_interrupt: str) -> int:
  """Prints the error, and returns the exit code for it.

  Args:
    error: anything but `ConfigError`, `DataError`, an interrupt and a missing
      extra shows its traceback.
    after_interrupt: see `Command`.
  """
  if isinstance(error, ModuleNotFoundError):
    name = (error.name or '').partition('.')[0]
    if name in _EXTRAS:
      error = ConfigError(
        f"this command needs {name}: pip install 'mgc_jax[{_EXTRAS[name]}]'"
      )
  if isinstance(error, KeyboardInterrupt):
    print(f'interrupted; {after_interrupt}', file=sys.stderr)
    return 130
  if not isinstance(error, ConfigError | DataError):
    traceback.print_exception(error)
    return 1
  print(f'error: {error}', file=sys.stderr)
  return 2 if isinstance(error, ConfigError) else 1
