"""Processes keep memory and compiled code, in bounds, and safely."""

import json
import os
import subprocess
import sys

import pytest

from mgc_jax.models import bundle as bundles
from tests.conftest import write_tone
from tests.processes import ROOT, environment, unprivileged

_CACHE = 'JAX_COMPILATION_CACHE_DIR'
STEP = """
import json, resource, sys, time
from mgc_jax.system import jax_runtime
if sys.argv[1] == 'set_up':
  jax_runtime.set_up()
import jax, jax.numpy as jnp

def memory(name):
  for line in open('/proc/self/status'):
    if line.startswith(name):
      return int(line.split()[1]) / 1024

def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

@jax.jit
def step(x, w):  # buffers of 128 MiB between two products
  return jnp.tanh(x @ w) @ w

x, w = jnp.ones((2**18, 128)), jnp.eye(128)
for _ in range(12):
  x = jax.block_until_ready(step(x, w))
before, peak = faults(), memory('VmHWM')
for _ in range(6):
  x = step(x, w)
jax.block_until_ready(x)
print(json.dumps({
  'faults': faults() - before, 'more_mib': memory('VmHWM') - peak
}))
"""


def _python(*args, without=(), **env):
  """Runs Python, bound by permissions, in an environment without some names."""
  env = environment(**env)
  return subprocess.run(
    [*unprivileged(), sys.executable, *map(str, args)],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
    env={name: x for name, x in env.items() if name not in without},
    timeout=300,
  )


def _run(code, *args, **kwargs):
  """Runs code that must not fail."""
  done = _python('-c', code, *args, **kwargs)
  assert done.returncode == 0, done.stderr
  return done


@pytest.mark.skipif(sys.platform != 'linux', reason='of glibc')
@pytest.mark.slow
def test_memory_is_kept_and_does_not_grow():
  plain = json.loads(_run(STEP, 'plain').stdout)
  kept = json.loads(_run(STEP, 'set_up').stdout)
  # The heap may find room for two or three buffers late; a leak would be six.
  assert kept['faults'] < plain['faults'] / 4
  assert kept['more_mib'] < 512


COMPILE = """
from mgc_jax.system import jax_runtime
jax_runtime.set_up()
import jax, jax.numpy as jnp
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
found = []
jax.monitoring.register_event_listener(lambda name, **_: found.append(name))
print(float(jax.jit(lambda x: (x @ x).sum())(jnp.ones((5, 5)))))
print(found.count('/jax/compilation_cache/cache_hits'))
"""


def _hits(tmp_path):
  done = _run(COMPILE, without=[_CACHE], XDG_CACHE_HOME=tmp_path)
  result, hits = done.stdout.split()
  assert float(result) == 125.0
  assert done.stderr == ''
  return int(hits)


def test_compiled_code_is_kept_in_the_users_cache(tmp_path):
  assert _hits(tmp_path) == 0
  files = list((tmp_path / 'mgc_jax' / 'compiled').glob('*/*-cache'))
  assert files
  assert _hits(tmp_path) > 0
  for path in files:  # killed while writing
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  assert _hits(tmp_path) == 0
  for path in files:  # as another user keeps them
    path.chmod(0)
  assert _hits(tmp_path) == 0


MANY = """
import pathlib, sys, time
from mgc_jax.system import jax_runtime
jax_runtime.set_up()
import jax, jax.numpy as jnp
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
jax.config.update('jax_raise_persistent_cache_errors', True)
print('ready', flush=True)
sys.stdin.readline()
for size in range(2, 22):
  print(float(jax.jit(lambda x: (x @ x).sum())(jnp.ones((size, size)))))
"""


def test_processes_that_compile_the_same_at_once_share_a_cache(tmp_path):
  """A cache that cannot be read or written would be an error in them."""
  env = environment(XDG_CACHE_HOME=tmp_path)
  del env[_CACHE]
  pipes = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.PIPE)
  processes = [
    subprocess.Popen([sys.executable, '-c', MANY], **pipes, text=True, env=env)
    for _ in range(2)
  ]
  for process in processes:
    assert process.stdout.readline() == 'ready\n'
  for process in processes:
    process.stdin.write('go\n')
    process.stdin.flush()
  for process in processes:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.split() == [f'{size**3}.0' for size in range(2, 22)]
  cache = tmp_path / 'mgc_jax' / 'compiled'
  assert len(list(cache.glob('*/*-cache'))) >= 20


def _closed(tmp_path):
  (tmp_path / 'cache').mkdir(mode=0)


def _not_listed(tmp_path):
  (tmp_path / 'cache').mkdir(mode=0o300)


def _not_written(tmp_path):
  (tmp_path / 'cache').mkdir(mode=0o500)


def _file(tmp_path):
  (tmp_path / 'cache').touch()


WHERE = COMPILE + 'print(jax.config.jax_compilation_cache_dir)'
UNUSABLE = [_closed, _not_written, _file]


@pytest.mark.parametrize('make', UNUSABLE)
def test_a_cache_that_cannot_be_used_is_ignored_silently(make, tmp_path):
  make(tmp_path)
  done = _run(WHERE, without=[_CACHE], XDG_CACHE_HOME=tmp_path / 'cache')
  assert done.stdout.split() == ['125.0', '0', 'None']
  assert done.stderr == ''


@pytest.mark.parametrize('make', [*UNUSABLE, _not_listed])
def test_a_chosen_cache_that_cannot_be_used_is_reported_once(make, tmp_path):
  make(tmp_path)
  folder = tmp_path / 'cache'
  done = _run(WHERE, **{_CACHE: folder})
  assert done.stdout.split() == ['125.0', '0', 'None']
  (line,) = done.stderr.splitlines()
  assert line.startswith(f'{_CACHE}={folder}: the folder cannot be read')


@pytest.mark.parametrize(
  'make',
  [
    _not_written,
    *(pytest.param(x, marks=pytest.mark.slow) for x in (None, _closed, _file)),
  ],
)
def test_a_model_predicts_without_a_cache_and_without_warnings(
  make, bundle, tmp_path
):
  bundles.save(bundle, tmp_path / 'model')
  path = write_tone(tmp_path / 'x.wav', 3.0)
  env = {'XDG_CACHE_HOME': '', 'HOME': '/dev/null'}  # no home
  if make:
    make(tmp_path)
    env = {'XDG_CACHE_HOME': tmp_path / 'cache'}
  command = ['-m', 'mgc_jax.predict', path, f'--model={tmp_path / "model"}']
  done = _python(*command, without=[_CACHE], **env)
  assert done.returncode == 0 and done.stdout.count('\n') == 2
  assert done.stderr == ''


DEVICE = """
from mgc_jax.system import jax_runtime
from mgc_jax.system.errors import ConfigError
try:
  jax_runtime.check_device()
except ConfigError as error:
  print(error)
else:
  print('started')
"""


@pytest.mark.parametrize(
  ('env', 'wanted'),
  [
    ({}, 'started'),
    ({'JAX_PLATFORMS': 'cpu'}, 'started'),
    ({'JAX_PLATFORMS': 'xpu'}, 'JAX_PLATFORMS=xpu: JAX cannot start this'),
    ({'JAX_PLATFORMS': 'xpu,cpu'}, 'JAX_PLATFORMS=xpu,cpu: JAX cannot start'),
    ({'JAX_PLATFORM_NAME': 'xpu'}, 'JAX cannot start a device'),
  ],
)
def test_an_unavailable_platform_is_reported(env, wanted):
  done = _run(DEVICE, **env)
  assert done.stdout.startswith(wanted) and done.stdout.count('\n') == 1
  assert ('unset JAX_PLATFORMS' in done.stdout) == ('JAX_PLATFORMS=' in wanted)


COMMANDS = [
  'mgc_jax.predict {tmp_path}/music/x.wav --model={tmp_path}/model '
  '--engine=jax',
  'mgc_jax.main --config=configs/smoke.py --workdir={tmp_path}/run',
  'mgc_jax.collection index {tmp_path}/music --model={tmp_path}/model '
  '--index={tmp_path}/index --engine=jax',
  'mgc_jax export --model={tmp_path}/model --to={tmp_path}/model.mgc',
]
RUN_COMMANDS = """
import json, sys
from tests.commands import run_command
found = [run_command(*line.split()) for line in sys.argv[1:]]
print(json.dumps([[done.returncode, done.stderr] for done in found]))
"""


def test_commands_say_in_one_line_that_the_platform_is_unavailable(
  bundle, tmp_path
):
  bundles.save(bundle, tmp_path / 'model')
  write_tone(tmp_path / 'music' / 'x.wav', 3.0)
  lines = [line.format(tmp_path=tmp_path) for line in COMMANDS]
  done = _run(RUN_COMMANDS, *lines, JAX_PLATFORMS='xpu')
  assert done.stderr == ''
  found = json.loads(done.stdout)
  assert len(found) == len(COMMANDS)
  for code, errors in found:
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith('error: JAX_PLATFORMS=xpu: JAX cannot start this')
    assert 'unset JAX_PLATFORMS' in line


HOMELESS = """
import os
import jax
from mgc_jax.system import jax_runtime, user_dirs
from mgc_jax.system.errors import ConfigError

os.setuid(54321)  # as in a container: a user without an entry
for folder in (user_dirs.user_cache_dir, user_dirs.user_data_dir):
  try:
    folder()
  except ConfigError as error:
    print(error)
jax_runtime.keep_compiled()  # nowhere
"""


@pytest.mark.skipif(os.geteuid() != 0, reason='becomes another user')
def test_without_a_home_folder_the_message_says_what_to_set():
  nothing = {name: '' for name in ('XDG_CACHE_HOME', 'XDG_DATA_HOME')}
  done = _run(HOMELESS, without=['HOME', _CACHE], **nothing)
  assert done.stdout.splitlines() == [
    f'this user has no home folder; set {name} to a folder' for name in nothing
  ]
