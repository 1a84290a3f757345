"""Runs command lines in this process: as `python -m`, without the imports.

Starting Python and importing JAX and TensorFlow takes longer than most commands
that are tested. Tests of the process itself (kills, signals, closed outputs,
imports) start one: tests/processes.py.
"""

import contextlib
import dataclasses
import io
import logging
import os
import re
import runpy
import sys
import warnings

from absl import logging as absl_logging

from tests.processes import ROOT

# Python's own notation and messages, which a user should not see.
_REPR = re.compile(
  r'PosixPath\(|<class |<function | object at 0x|\w(Error|Exception)\(|dtype='
  r'|invalid literal|could not convert|Non-boolean'
  r"|\[[\[(]?'|\[\w+\('|\{'|=\('|\(None|: None\b|\bnp\.\w+\("
)


@dataclasses.dataclass(frozen=True)
class Done:
  """The result of a command, as in `subprocess.CompletedProcess`."""

  args: list[str]
  returncode: int
  stdout: str
  stderr: str


def run_command(module, *words, cwd=ROOT, stdin='', **env):
  """Runs `python -m module words` in this process.

  Args:
    module: its name, such as mgc_jax, which is `mgc`, or mgc_jax.predict.
    words: flags and arguments, converted to str.
    cwd: the folder that it runs in.
    stdin: the text of its standard input.
    **env: environment variables to add to those of this process.

  Returns:
    Exit code and outputs; an uncaught exception is code 1 and its traceback.

  Raises:
    AssertionError: a message has a value in the form of Python's source code.
  """
  args = [module, *map(os.fspath, map(_text, words))]
  output, errors = _stream(), _stream()
  with contextlib.ExitStack() as stack:
    stack.enter_context(_own_logging())
    stack.enter_context(contextlib.chdir(cwd))
    stack.enter_context(_environment(env))
    stack.enter_context(_replaced(sys, 'argv', args))
    stack.enter_context(_replaced(sys, 'stdin', _stream(stdin)))
    stack.enter_context(_replaced(sys, 'stdout', output))
    stack.enter_context(_replaced(sys, 'stderr', errors))
    code = _exit_code(module)
  done = Done(args, code, _written(output), _written(errors))
  if code and 'Traceback' not in done.stderr:
    # What JAX says is quoted as it is.
    ours = done.stderr.split('(Unable to initialize backend')[0]
    assert not _REPR.search(ours), done.stderr
  return done


def _text(word):
  return word if isinstance(word, str | os.PathLike) else str(word)


def _stream(text=''):
  data = io.BytesIO(text.encode('utf-8', 'surrogateescape'))
  return io.TextIOWrapper(data, 'utf-8', 'surrogateescape', write_through=True)


def _written(stream):
  stream.flush()
  return stream.buffer.getvalue().decode('utf-8', 'surrogateescape')


def _exit_code(module):
  try:
    with warnings.catch_warnings():
      # runpy warns that the module is imported already, which is the point.
      warnings.filterwarnings(
        'ignore', '.*found in sys.modules', RuntimeWarning
      )
      runpy.run_module(module, run_name='__main__', alter_sys=True)
  except SystemExit as end:
    if isinstance(end.code, str):
      print(end.code, file=sys.stderr)
      return 1
    return end.code or 0
  return 0


@contextlib.contextmanager
def _replaced(owner, name, value):
  before = getattr(owner, name)
  setattr(owner, name, value)
  try:
    yield
  finally:
    setattr(owner, name, before)


@contextlib.contextmanager
def _environment(env):
  before = dict(os.environ)
  os.environ.update({name: str(value) for name, value in env.items()})
  try:
    yield
  finally:
    os.environ.clear()
    os.environ.update(before)


def train_here(monkeypatch):
  """Replaces the processes that commands train in by calls, for one test.

  No figures of these runs are drawn, which would take a third of their time:
  tests/test_main.py and tests/test_experiment.py draw them.
  """

  def train(config, run):
    words = [f'--config={config}', *run.overrides, f'--workdir={run.workdir}']
    done = run_command('mgc_jax.main', *words, cwd=os.getcwd())
    assert done.returncode == 0, done.stderr

  modules = ('sweep.command', 'leakage.command', 'shipped_models.build')
  for module in (*modules, 'left_out'):
    monkeypatch.setattr(f'mgc_jax.experiments.{module}.train', train)
  for name in ('plot_data', 'plot_training', 'plot_confusion'):
    figure = f'mgc_jax.training.run_plots.{name}'
    monkeypatch.setattr(figure, lambda *args: None)


@contextlib.contextmanager
def _own_logging():
  """Undoes what a command changes in the loggers of this process."""
  loggers = [logging.getLogger('mgc_jax'), logging.getLogger()]
  before = [(x, x.handlers[:], x.level, x.propagate) for x in loggers]
  verbosity = absl_logging.get_verbosity()
  try:
    yield
  finally:
    absl_logging.set_verbosity(verbosity)
    for logger, handlers, level, propagate in before:
      logger.handlers[:], logger.propagate = handlers, propagate
      logger.setLevel(level)
