"""Real processes, killed at random moments, end with the same bits.

One kill is tested quickly; the rest are slow tests.
"""

import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time

import pytest

from mgc_jax.evaluation import plots
from tests.commands import run_command
from tests.processes import (
  ROOT,
  TRAIN,
  Forked,
  Process,
  environment,
  outcome,
  unprivileged,
)

# More for the figures in docs/RELIABILITY.md.
NUM_KILLS = int(os.environ.get('MGC_NUM_KILLS', 20))
SEED = int(os.environ.get('MGC_KILL_SEED', 0))

PYTHON = [sys.executable, '-m']
# A checkpoint after every step: whatever is killed has done something.
FLAGS = [
  f'--config={ROOT}/configs/smoke.py',
  '--config.train.num_epochs=5',
  '--config.train.batch_size=4',
  '--config.train.checkpoint_every_steps=1',
  '--config.train.ema_decay=0.9',
  '--config.train.patience_epochs=3',
  '--config.data.num_workers=2',
]


def _flags(run, prepared, *more):
  folders = [f'--workdir={run}', f'--config.data.prepared_dir={prepared}']
  return [*FLAGS, *folders, *more]


def _fork(folder, *words):
  """Starts a command whose output goes to a new file in a folder."""
  output = folder / f'output{len(list(folder.glob("output*")))}'
  return Forked(output, *words)


def _start(run, prepared):
  return _fork(run.parent, 'mgc_jax.main', *_flags(run, prepared))


def _finish(process):
  assert process.wait() == 0, process.output
  return process.output


@pytest.fixture(scope='module')
def whole(made_once):
  """An uninterrupted run, and its records."""

  def make(folder):
    _finish(_start(folder / 'run', folder / 'prepared'))

  return made_once('whole', make)


def test_a_killed_run_ends_with_the_same_bits(tmp_path, monkeypatch):
  """The run that is killed is a process; the others are run in this one."""
  monkeypatch.setattr(plots, '_save', lambda figure, path: None)
  prepared = tmp_path / 'prepared'

  def words(run):
    smaller = (
      'train.num_epochs=2',
      'data.num_workers=1',
      'data.synthetic.duration_s=3',
    )
    return _flags(run, prepared, *(f'--config.{x}' for x in smaller))

  def finish(run):
    done = run_command('mgc_jax.main', *words(run))
    assert done.returncode == 0, done.stderr
    return done.stderr

  finish(tmp_path / 'whole')
  run = tmp_path / 'run'
  process = Process([*TRAIN, *words(run)])
  process.wait_for(lambda: list(run.glob('checkpoints/[3-9]')))
  process.kill()
  assert not (run / 'results.json').exists()
  assert 'resumed at step' in finish(run)
  assert outcome(run) == outcome(tmp_path / 'whole')


@pytest.mark.slow
def test_a_second_run_in_one_workdir_is_rejected(whole, tmp_path):
  run = tmp_path / 'run'
  first = _start(run, whole / 'prepared')
  first.wait_for(lambda: 'records:' in first.output)
  second = _start(run, whole / 'prepared')
  assert second.wait() == 1
  assert f'error: {run}: another process is using this run' in second.output
  assert 'Traceback' not in second.output
  assert first.wait() == 0, first.output
  assert outcome(run) == outcome(whole / 'run')


def _files(folder):
  # Not glob: a folder may disappear while it is listed.
  return {f'{at}/{name}' for at, _, names in os.walk(folder) for name in names}


def _wait_for_a_moment(process, run, chance):
  """Waits for a random moment, a third of them before the first step."""
  # Before it Python imports, and there is nothing to harm.
  process.wait_for(lambda: 'records:' in process.output)
  if chance.random() < 1 / 3:
    time.sleep(chance.uniform(0, 2))
    return
  before = _files(run)
  process.wait_for(lambda: _files(run) - before)  # it has started to write
  time.sleep(chance.uniform(0, 1))


def _limited(command, max_file_bytes):
  """Runs a command that cannot write files beyond a size limit."""

  def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

  return subprocess.run(
    [str(word) for word in command],
    preexec_fn=limit,
    cwd=ROOT,
    env=environment(JAX_ENABLE_COMPILATION_CACHE=0),
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
  whole, tmp_path
):
  chance = random.Random(SEED)
  run, prepared = tmp_path / 'run', tmp_path / 'prepared'
  num_kills, output = 0, ''
  while num_kills < NUM_KILLS:
    process = _start(run, prepared)
    _wait_for_a_moment(process, run, chance)
    if process.has_ended():  # the next one starts a new run
      assert process.wait() == 0, process.output
      shutil.move(run, tmp_path / f'finished{num_kills}')
      continue
    process.kill()
    assert 'Traceback' not in process.output, process.output
    num_kills += 1
    output += process.output
  output += _finish(_start(run, prepared))
  resumed = re.findall(r'resumed at step (\d+)', output)
  print(f'{num_kills} kills, resumed at {resumed}')
  assert len(set(resumed)) >= NUM_KILLS // 4, resumed
  for folder in (run, *tmp_path.glob('finished*')):
    assert outcome(folder) == outcome(whole / 'run')


@pytest.mark.slow
def test_a_run_stopped_by_a_full_disk_ends_with_the_same_bits(whole, tmp_path):
  run, prepared = tmp_path / 'run', whole / 'prepared'
  process = _start(run, prepared)
  # Far from its end: it has steps to do that cannot be saved.
  process.wait_for(lambda: list(run.glob('checkpoints/[0-9]')))
  process.kill()
  full = _limited([*TRAIN, *_flags(run, prepared)], 10_000)
  assert full.returncode == 1
  assert f'error: {run}' in full.stderr, full.stderr
  assert 'resumed at step' in _finish(_start(run, prepared))
  assert outcome(run) == outcome(whole / 'run')


def _prepare(folder):
  """Prepares more tracks, so that it can be killed midway."""
  return [
    'mgc_jax',
    'prepare',
    FLAGS[0],
    '--config.data.synthetic.tracks_per_artist=8',
    '--config.data.num_workers=2',
    f'--config.data.prepared_dir={folder}',
  ]


def _records(folder):
  """What the records hold; protobuf does not promise them bit by bit."""
  (path,) = folder.glob('**/index.csv')
  return path.read_bytes(), (path.parent / 'band_sums.npy').read_bytes()


@pytest.fixture(scope='module')
def two(made_once):
  """Records that two processes prepared at once, and their output."""

  def make(folder):
    processes = [_fork(folder, *_prepare(folder)) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]

  folder = made_once('two', make)
  return folder, ''.join(x.read_text() for x in folder.glob('output*'))


@pytest.mark.slow
def test_two_preparations_at_once_make_one_set_of_records(two):
  folder, output = two
  assert output.count('preparing 320 tracks') == 1
  assert len(list(folder.glob('**/index.csv'))) == 1


@pytest.mark.slow
def test_preparation_is_complete_or_missing(two, tmp_path):
  """Stopped by a full disk, then killed, it leaves nothing; then it is done."""
  done = _limited([*PYTHON, *_prepare(tmp_path)], 100_000)
  assert done.returncode == 1, done.stderr
  message = done.stderr.splitlines()[-1]
  assert f'{tmp_path}: cannot write records' in message
  assert '--config.data.prepared_dir' in message
  assert not list(tmp_path.glob('**/incomplete*'))
  chance, num_kills = random.Random(SEED), 0
  for _ in range(10):
    before = set(tmp_path.glob('**/incomplete*'))  # which it deletes first
    process = _fork(tmp_path, *_prepare(tmp_path))
    process.wait_for(
      lambda before=before: set(tmp_path.glob('**/incomplete*')) - before
    )
    time.sleep(chance.uniform(0, 0.3))
    process.kill()
    if not list(tmp_path.glob('**/1.*')):
      num_kills += 1
      if num_kills == 2:
        break
    else:  # the kill came too late
      assert _records(tmp_path) == _records(two[0])
      shutil.rmtree(tmp_path / 'mgc_windows')
  assert num_kills == 2
  output = _finish(_fork(tmp_path, *_prepare(tmp_path)))
  assert 'left by a process that was killed' in output
  assert not list(tmp_path.glob('**/incomplete*'))
  assert _records(tmp_path) == _records(two[0])


@pytest.mark.slow
def test_a_read_only_folder_is_reported(tmp_path):
  folder = tmp_path / 'prepared'
  folder.mkdir(mode=0o555)
  process = Process([*unprivileged(), *PYTHON, *_prepare(folder)])
  assert process.wait() == 1
  assert f'{folder}: cannot write records' in process.output
  assert 'Permission denied' in process.output
  assert not list(folder.iterdir())


@pytest.mark.slow
def test_records_in_a_read_only_folder_are_used(two, tmp_path):
  shutil.copytree(two[0], tmp_path / 'prepared')
  folders = [tmp_path / 'prepared', *(tmp_path / 'prepared').glob('**/')]
  for folder in folders:
    folder.chmod(0o555)
  words = _prepare(tmp_path / 'prepared')
  process = Process([*unprivileged(), *PYTHON, *words])
  assert process.wait() == 0, process.output
  for folder in folders:
    folder.chmod(0o755)
