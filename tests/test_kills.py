"""Real processes, killed at random moments, end with the same bits."""

import hashlib
import json
import os
import pathlib
import random
import re
import shutil
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
  '--config.train.num_epochs=8',
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


def kill(process):
  """Kills a process, and sees that its workers end with it."""
  workers = children(process.pid)
  process.send_signal(signal.SIGKILL)
  process.wait()
  process.listener.join(20)
  assert not any('Traceback' in line for line in process.said), process.said
  end_s = time.monotonic() + 20
  while any(map(is_alive, workers)):
    assert time.monotonic() < end_s, 'workers outlive their parent'
    time.sleep(0.05)


def files(folder):
  return {str(path) for path in folder.glob('**/*')}


def wait_for_a_moment(process, run, chance):
  """Waits for a random moment, a third of them before the first step."""
  # Before it Python imports, and there is nothing to harm.
  wait_for(lambda: any('records:' in x for x in process.said), process)
  if chance.random() < 1 / 3:
    time.sleep(chance.uniform(0, 3))
    return
  before = files(run)
  wait_for(lambda: files(run) - before, process)  # it has begun to write
  time.sleep(chance.uniform(0, 1))


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
  whole, tmp_path
):
  chance = random.Random(SEED)
  run, prepared = tmp_path / 'run', tmp_path / 'prepared'
  num_kills, said = 0, ''
  while num_kills < NUM_KILLS:
    process = start(run, prepared)
    wait_for_a_moment(process, run, chance)
    if process.poll() is not None:  # at its end: the next run begins anew
      shutil.move(run, tmp_path / f'finished{num_kills}')
      continue
    kill(process)
    num_kills += 1
    said += ''.join(process.said)
  said += finish(run, prepared)
  resumed = re.findall(r'resumed at step (\d+)', said)
  print(f'{num_kills} kills, resumed at {resumed}')
  assert len(set(resumed)) > NUM_KILLS // 4, resumed
  for folder in (run, *tmp_path.glob('finished*')):
    assert outcome(folder) == outcome(whole / 'run')
