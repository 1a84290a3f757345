"""Real processes, killed at random moments, end with the same bits."""

import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from mgc_jax import bundle as bundles

ROOT = pathlib.Path(__file__).parent.parent
# More for the figures in docs/RELIABILITY.md.
NUM_KILLS = int(os.environ.get('MGC_NUM_KILLS', 20))
SEED = int(os.environ.get('MGC_KILL_SEED', 0))

# A checkpoint after every step: whatever is killed has done something.
FLAGS = [
  f'--config={ROOT}/configs/smoke.py',
  '--config.train.num_epochs=5',
  '--config.train.batch_size=4',
  '--config.train.checkpoint_every_steps=1',
  '--config.train.ema_decay=0.9',
  '--config.train.patience_epochs=4',
  '--config.data.num_workers=2',
]


def start(workdir, prepared, module='mgc_jax.main'):
  """Starts a command; what it says is read in the background."""
  process = subprocess.Popen(
    [
      sys.executable,
      '-m',
      module,
      *FLAGS,
      f'--config.data.prepared_dir={prepared}',
    ]
    + ([f'--workdir={workdir}'] if workdir else []),
    cwd=ROOT,
    env={
      **os.environ,
      'JAX_COMPILATION_CACHE_DIR': os.environ['XDG_CACHE_HOME'] + '/kills',
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    },
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    errors='replace',
  )
  process.said = []

  def listen():
    for line in process.stderr:
      process.said.append(line)

  process.listener = threading.Thread(target=listen, daemon=True)
  process.listener.start()
  return process


def wait_for(condition, process, timeout_s=120.0):
  """Waits until a condition holds or the process has ended."""
  end_s = time.monotonic() + timeout_s
  while not condition() and process.poll() is None:
    assert time.monotonic() < end_s, process.said
    time.sleep(0.002)


def children(pid):
  found = subprocess.run(
    ['ps', '--ppid', str(pid), '-o', 'pid='],
    capture_output=True,
    text=True,
    check=False,
  )
  return [int(line) for line in found.stdout.split()]


def is_alive(pid):
  try:
    state = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2]
  except OSError:
    return False
  return state.split()[0] != 'Z'


def finish(workdir, prepared):
  """Runs a command to its end, and returns what it said."""
  process = start(workdir, prepared)
  assert process.wait(300) == 0, process.said
  process.listener.join()
  return ''.join(process.said)


def outcome(workdir):
  """Everything of a run that may not depend on what was killed."""
  lines = [
    json.loads(text)
    for text in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
  for line in lines:
    del line['examples_per_s']  # a clock's
  files = ('bundle/bundle.json', 'results.json', 'config.json')
  return {
    'weights': bundles.digest(workdir / 'bundle'),
    'lines': lines,
    **{name: digest(workdir / name) for name in files},
  }


def digest(path):
  content = json.loads(path.read_text())
  content.get('data', {}).pop('prepared_dir', None)
  return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A run that nothing disturbs."""
  folder = tmp_path_factory.mktemp('whole')
  finish(folder / 'run', folder / 'prepared')
  return folder


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
  whole, tmp_path
):
  random_moment = random.Random(SEED)
  run, prepared = tmp_path / 'run', tmp_path / 'prepared'
  num_kills, resumed = 0, []
  while num_kills < NUM_KILLS:
    process = start(run, prepared)
    # Before it, Python imports, and there is nothing to harm.
    wait_for(lambda: any('records:' in x for x in process.said), process)  # noqa: B023
    time.sleep(random_moment.uniform(0, 4))
    if process.poll() is not None:
      break
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    num_kills += 1
    process.listener.join(20)
    resumed += [x for x in process.said if 'resumed at step' in x]
    assert not any('Traceback' in x for x in process.said), process.said
    end_s = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < end_s:
      time.sleep(0.05)
    assert not any(map(is_alive, workers)), 'workers outlive their parent'
  finish(run, prepared)
  steps = [int(x.split()[-1]) for x in resumed]
  assert steps == sorted(steps) and len(set(steps)) > 2, steps
  print(f'{num_kills} kills, resumed at {steps}')
  assert num_kills >= NUM_KILLS, f'finished after {num_kills} kills'
  assert outcome(run) == outcome(whole / 'run')
