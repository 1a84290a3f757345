"""Starts, watches and kills the command lines as real processes."""

import hashlib
import json
import multiprocessing
import os
import pathlib
import runpy
import shutil
import subprocess
import sys
import threading
import time

import jax
import pytest

from mgc_jax.models import bundle as bundles

ROOT = pathlib.Path(__file__).parent.parent
TRAIN = [sys.executable, '-m', 'mgc_jax.main']
# Ctrl-C works in it, even if the tests run in the background, where shells
# make programs ignore it.
INTERRUPTIBLE = ('env', '--default-signal=INT', sys.executable, '-m', 'mgc_jax')
# The imports of a training process take longer than a small training.
_IMPORTED = ('mgc_jax.training.experiment', 'tensorflow_datasets', 'tensorflow')


_WITHOUT_JAX = """
import runpy, sys
class Absent:
  def find_spec(self, name, path=None, target=None):
    if name in ('jax', 'flax', 'tensorflow'):
      raise ModuleNotFoundError(f'No module named {name}')
sys.meta_path.insert(0, Absent())
runpy.run_module('mgc_jax.predict', run_name='__main__')
"""


def predict_without_jax(*words):
  """Runs `predict` where JAX, Flax and TensorFlow cannot be imported."""
  command = [sys.executable, '-c', _WITHOUT_JAX, *map(str, words)]
  return subprocess.run(
    command, capture_output=True, text=True, env=environment()
  )


class Process:
  """A command that runs in the background, and its output."""

  def __init__(self, command, cwd=ROOT, **env):
    self._process = subprocess.Popen(
      [str(word) for word in command],
      cwd=cwd,
      env=environment(**env),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors='replace',
    )
    self.pid = self._process.pid
    self.lines = []
    self._listener = threading.Thread(target=self._listen, daemon=True)
    self._listener.start()

  def _listen(self):
    with self._process.stdout as output:
      for line in output:
        self.lines.append(line)

  @property
  def output(self):
    return ''.join(self.lines)

  def has_ended(self):
    return self._process.poll() is not None

  def wait(self, timeout_s=300.0):
    """Waits for its end, and returns its exit code."""
    code = self._process.wait(timeout_s)
    self._listener.join(20)
    return code

  def wait_for(self, condition, timeout_s=120.0):
    """Waits until a condition holds or the process has ended."""
    end_s = time.monotonic() + timeout_s
    while not condition() and not self.has_ended():
      assert time.monotonic() < end_s, self.output
      time.sleep(0.002)

  def kill(self):
    """Kills only this process, and checks that its children exit."""
    children = _children(self.pid)
    self._process.kill()  # nothing happens if it has ended
    self.wait()
    end_s = time.monotonic() + 20
    while any(map(_is_alive, children)):
      assert time.monotonic() < end_s, 'workers outlive their parent'
      time.sleep(0.05)


class Forked(Process):
  """`python -m module words`, in a process that starts with its imports made.

  For tests that start dozens of them. multiprocessing's server imports the
  libraries once, and forks; nothing else is shared between the processes.
  """

  def __init__(self, output, module, *words, **env):
    """Starts it.

    Args:
      output: the path of a new file for its standard output and error.
      module: its name, such as mgc_jax, which is `mgc`.
      words: flags and arguments.
      **env: environment variables to add to those of `environment`.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(list(_IMPORTED))
    self._output = pathlib.Path(output)
    self._output.touch(exist_ok=False)
    self._process = context.Process(
      target=_run_module,
      args=(self._output, module, list(map(str, words)), environment(**env)),
    )
    self._process.start()
    self.pid = self._process.pid

  @property
  def output(self):
    return self._output.read_text(errors='replace')

  def has_ended(self):
    return self._process.exitcode is not None

  def wait(self, timeout_s=300.0):
    """Waits for its end, and returns its exit code."""
    self._process.join(timeout_s)
    assert self.has_ended(), self.output
    return self._process.exitcode


def _run_module(output, module, words, env):
  """Turns a forked process into the command."""
  assert set(_IMPORTED) <= set(sys.modules)
  with output.open('ab') as file:
    for stream in (sys.stdout, sys.stderr):
      os.dup2(file.fileno(), stream.fileno())
  os.chdir(ROOT)
  os.environ.clear()
  os.environ.update(env)
  # JAX has read the environment already.
  jax.config.update(
    'jax_compilation_cache_dir', env['JAX_COMPILATION_CACHE_DIR']
  )
  sys.argv = [module, *words]
  runpy.run_module(module, run_name='__main__', alter_sys=True)


def compiled_folder():
  """Returns where this session keeps compiled code."""
  return os.environ['XDG_CACHE_HOME'] + '/jax'


def environment(**env):
  """The environment of a command, compiled steps kept for the next one."""
  path = pathlib.Path(sys.executable).parent
  # Measuring coverage there too would double the time that imports take.
  kept = {k: v for k, v in os.environ.items() if not k.startswith('COV')}
  return {
    **kept,
    'PYTHONPATH': str(ROOT),
    'PATH': f'{path}:{os.environ["PATH"]}',
    'JAX_COMPILATION_CACHE_DIR': compiled_folder(),
    **{name: str(value) for name, value in env.items()},
  }


def run_python(code, *arguments):
  """Runs code in a process that must not fail, and returns its output."""
  done = subprocess.run(
    [sys.executable, '-c', code, *arguments],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def unprivileged():
  """Returns a command prefix that removes root's special file permissions."""
  if os.geteuid():
    return []
  if not shutil.which('setpriv'):
    pytest.skip('root may do everything, and there is no setpriv')
  return ['setpriv', '--bounding-set=-dac_override,-dac_read_search']


def _children(pid):
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
    try:
      if path.read_text().rpartition(')')[2].split()[1] == str(pid):
        found.append(int(path.parent.name))
    except OSError:  # it has just ended
      continue
  return found


def descendants(pid):
  """Returns the children of a process, theirs, and so on."""
  found = _children(pid)
  return found + [pid for child in found for pid in descendants(child)]


def _is_alive(pid):
  try:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except OSError:
    return False
  return text.rpartition(')')[2].split()[0] != 'Z'


def outcome(workdir):
  """All outputs of a run that must not depend on when it was killed."""
  lines = [
    json.loads(text)
    for text in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
  for line in lines:
    del line['examples_per_s']  # depends on the clock
  files = ('bundle/bundle.json', 'results.json', 'config.json')
  return {
    'weights': bundles.digest(workdir / 'bundle'),
    'lines': lines,
    **{name: _digest(workdir / name) for name in files},
  }


def _digest(path):
  content = json.loads(path.read_text())
  content.get('data', {}).pop('prepared_dir', None)
  return hashlib.sha256(json.dumps(content).encode()).hexdigest()
