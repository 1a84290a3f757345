"""Processes keep memory and compiled code, in bounds, and safely."""

import json
import os
import subprocess
import sys

import pytest

from tests.processes import ROOT, environment

_CACHE = 'JAX_COMPILATION_CACHE_DIR'
STEP = """
import json, resource, sys, time
from mgc_jax import runtime
if sys.argv[1] == 'set_up':
  runtime.set_up()
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


def _run(code, *args, without=(), **env):
  """Runs Python in an environment that lacks some names."""
  env = environment(**env)
  done = subprocess.run(
    [sys.executable, '-c', code, *args],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
    env={name: x for name, x in env.items() if name not in without},
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  return done


@pytest.mark.skipif(sys.platform != 'linux', reason='of glibc')
def test_memory_is_kept_and_does_not_grow():
  plain = json.loads(_run(STEP, 'plain').stdout)
  kept = json.loads(_run(STEP, 'set_up').stdout)
  # The heap may find room for a step's two buffers late; a leak would be six.
  assert kept['faults'] < plain['faults'] / 4
  assert kept['more_mib'] < 384


COMPILE = """
from mgc_jax import runtime
runtime.set_up()
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
  return int(hits)


def test_compiled_code_is_kept_in_the_users_cache(tmp_path):
  assert _hits(tmp_path) == 0
  files = list((tmp_path / 'mgc_jax' / 'compiled').glob('*/*-cache'))
  assert files
  assert _hits(tmp_path) > 0
  for path in files:  # killed while writing
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  assert _hits(tmp_path) == 0


HOMELESS = """
import os
import jax
from mgc_jax import runtime
from mgc_jax.errors import ConfigError

os.setuid(54321)  # as in a container: a user that is in no list
for folder in (runtime.user_cache_dir, runtime.user_data_dir):
  try:
    folder()
  except ConfigError as error:
    print(error)
runtime.keep_compiled()  # nowhere
"""


@pytest.mark.skipif(os.geteuid() != 0, reason='becomes another user')
def test_without_a_home_folder_it_is_said_what_to_set():
  nothing = {name: '' for name in ('XDG_CACHE_HOME', 'XDG_DATA_HOME')}
  done = _run(HOMELESS, without=['HOME', _CACHE], **nothing)
  assert done.stdout.splitlines() == [
    f'this user has no home folder; set {name} to a folder' for name in nothing
  ]
