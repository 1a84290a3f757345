"""Preparation and prediction on a Dask cluster that loses hosts; slow."""

import csv
import io
import json
import pathlib
import threading
import time

import pytest

from mgc_jax.cluster.attempts import KILLED
from tests.commands import run_command
from tests.conftest import write_tone
from tests.dask_cluster import Cluster
from tests.record_files import assert_same_records

pytest.importorskip('distributed')
pytestmark = pytest.mark.slow
_NUM_TRACKS = 12  # of each genre
_DURATION_S = 60.0
# Kills the process that opens a certain file, as a crash of a decoder would.
_CRASH = """
import os, signal, sys

def kill(event, args):
  if event == 'open' and str(args[0]).endswith('deadly.wav'):
    os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
"""


@pytest.fixture(scope='module')
def music(tmp_path_factory):
  root = tmp_path_factory.mktemp('music')
  for g, genre in enumerate(('jazz', 'rock')):
    for i in range(_NUM_TRACKS):
      path = root / genre / f'{i:02}.wav'
      write_tone(path, _DURATION_S, frequency_hz=200.0 + 300 * g + 17 * i)
    (root / genre / 'text.mp3').write_text('no music')
  return root


@pytest.fixture
def cluster():
  made = Cluster()
  yield made
  made.close()


def _prepare_words(music, to):
  return (
    'prepare',
    '--config=configs/crnn.py',
    '--config.data.source=folder',
    f'--config.data.root={music}',
    f'--config.data.prepared_dir={to}',
    '--config.features.excerpts=all',
    '--config.data.allow_missing',
  )


def _records(to):
  (path,) = pathlib.Path(to).glob('mgc_windows/*/*/index.csv')
  assert not list(pathlib.Path(to).glob('mgc_windows/*/parts'))
  return path.parent


@pytest.fixture(scope='module')
def local(music, tmp_path_factory):
  """The records of local preparation."""
  to = tmp_path_factory.mktemp('local')
  done = run_command('mgc_jax', *_prepare_words(music, to))
  assert done.returncode == 0, done.stderr
  return _records(to)


def _assert_equal(records, local):
  assert_same_records(records, local)
  for name in ('index.csv', 'SHA256SUMS', 'left_out.csv', 'damaged.csv'):
    assert (records / name).read_bytes() == (local / name).read_bytes()


class _Watcher:
  """Follows the files of parts while a job runs.

  Attributes:
    attempts: the largest number of attempts that was seen for each part.
    written: the times at which each part was written.
  """

  def __init__(self, folder):
    self._folder, self._stop = folder, threading.Event()
    self.attempts, self.written = {}, {}
    self._thread = threading.Thread(target=self._follow, daemon=True)
    self._thread.start()

  def _follow(self):
    while not self._stop.wait(0.005):
      for path in self._folder.glob('**/*.attempts'):
        try:
          most = max(json.loads(path.read_bytes()).values())
        except (OSError, ValueError):  # it has just ended, or is being written
          continue
        name = path.name.partition('.')[0]
        self.attempts[name] = max(most, self.attempts.get(name, 0))
      for path in self._folder.glob('**/*.npz'):
        try:
          time_ns = path.stat().st_mtime_ns
        except OSError:
          continue
        self.written.setdefault(path.stem, set()).add(time_ns)

  def end(self):
    self._stop.set()
    self._thread.join()


def _unfinished(folder):
  return list(folder.glob('**/*.attempts'))


def _finished(folder):
  return list(folder.glob('**/*.npz'))


def _kill_during_a_part(host, driver, folder):
  """Kills one of two hosts, and returns the name of the part that it was at."""
  driver.wait_for(lambda: _finished(folder))
  while not driver.has_ended():
    host.pause()
    if name := _part_of_paused(driver, folder):
      host.kill()
      return name
    host.resume()  # it was between two parts
  raise AssertionError(f'the job ended too early: {driver.output}')


def _part_of_paused(driver, folder):
  """Returns which part the paused one of two hosts is at, if any."""
  begun = _names(_unfinished(folder))
  # Until then the other host has left the part that it was at.
  enough = len(_finished(folder)) + 2
  driver.wait_for(lambda: len(_finished(folder)) >= enough)
  held = begun & _names(_unfinished(folder)) - _names(_finished(folder))
  return held.pop() if held else None


def _names(paths):
  return {path.name.partition('.')[0] for path in paths}


def _assert_only_one_was_repeated(watcher, name):
  """Checks that only the part of the killed host was begun twice."""
  repeated = {part for part, n in watcher.attempts.items() if n > 1}
  assert repeated <= {name}
  assert max(watcher.attempts.values()) <= 2
  assert len(watcher.written[name]) == 1  # by the other host
  assert all(len(times) == 1 for times in watcher.written.values())


def test_records_equal_local_ones_if_a_host_is_killed(
  cluster, music, local, tmp_path
):
  watcher = _Watcher(tmp_path)
  words = _prepare_words(music, tmp_path)
  driver = cluster.driver.start(
    'mgc_jax', *words, f'--scheduler={cluster.address}'
  )
  name = _kill_during_a_part(cluster.workers[1], driver, tmp_path)
  assert driver.wait() == 0, driver.output
  watcher.end()
  _assert_equal(_records(tmp_path), local)
  _assert_only_one_was_repeated(watcher, name)


def test_a_driver_that_is_killed_continues_with_the_missing_parts(
  cluster, music, local, tmp_path
):
  words = ('mgc_jax', *_prepare_words(music, tmp_path))
  words += (f'--scheduler={cluster.address}',)
  driver = cluster.driver.start(*words)
  driver.wait_for(lambda: len(_finished(tmp_path)) >= 4)
  driver.kill()
  end_s = time.monotonic() + 60
  while _unfinished(tmp_path):  # the workers finish their current parts
    assert time.monotonic() < end_s
    time.sleep(0.05)
  before = {path.stem: path.stat().st_mtime_ns for path in _finished(tmp_path)}
  assert 4 <= len(before) < 2 * _NUM_TRACKS
  watcher = _Watcher(tmp_path)
  driver = cluster.driver.start(*words)
  assert driver.wait() == 0, driver.output
  watcher.end()
  assert f'{len(before)} of {2 * _NUM_TRACKS + 2} parts exist' in driver.output
  for name, time_ns in before.items():
    assert watcher.written[name] == {time_ns}
    assert name not in watcher.attempts
  _assert_equal(_records(tmp_path), local)


def test_predictions_equal_local_ones_if_a_host_is_killed(
  cluster, music, tmp_path
):
  words = ('mgc_jax', 'predict', str(music), '--model=cnn', '--engine=jax')
  words += ('--format=csv',)
  parts = tmp_path / 'parts'
  on_cluster = (f'--scheduler={cluster.address}', f'--parts={parts}')
  watcher = _Watcher(parts)
  driver = cluster.driver.start(*words, *on_cluster)
  name = _kill_during_a_part(cluster.workers[1], driver, parts)
  assert driver.wait() == 1  # two files are not music
  watcher.end()
  _assert_only_one_was_repeated(watcher, name)
  local = run_command(*words)
  assert _rows(driver.output) == _rows(local.stdout)
  assert len(_rows(local.stdout)) == 2 * _NUM_TRACKS
  for line in local.stderr.splitlines():
    assert line in driver.output
  # Without the cluster, because nothing is left to do.
  cluster.driver.kill()
  again = run_command(*words, *on_cluster)
  assert again.stdout == local.stdout


def _rows(text):
  """Returns the rows of CSV between messages."""
  rows = csv.reader(io.StringIO(text))
  return [row for row in rows if len(row) > 8 and row[0] != 'path']


def test_a_track_that_kills_its_workers_is_skipped_by_name(tmp_path):
  (tmp_path / 'site').mkdir()
  (tmp_path / 'site' / 'sitecustomize.py').write_text(_CRASH)
  music = tmp_path / 'music'
  for g, genre in enumerate(('jazz', 'rock')):
    for i in range(6):
      write_tone(music / genre / f'{i}.wav', 3.0, frequency_hz=200 * g + 20 * i)
  write_tone(music / 'rock' / 'deadly.wav', 5.0)
  root = pathlib.Path(__file__).parent.parent
  cluster = Cluster(PYTHONPATH=f'{tmp_path / "site"}:{root}')
  try:
    words = _prepare_words(music, tmp_path / 'records')
    driver = cluster.driver.start(
      'mgc_jax', *words, f'--scheduler={cluster.address}'
    )
    assert driver.wait() == 0, driver.output
  finally:
    cluster.close()
  folder = _records(tmp_path / 'records')
  with (folder / 'left_out.csv').open() as file:
    (row,) = csv.DictReader(file)
  assert row['path'].endswith('deadly.wav') and row['reason'] == KILLED
  with (folder / 'index.csv').open() as file:
    assert len(list(csv.DictReader(file))) == 12


def test_the_job_finishes_if_a_host_is_cut_off(cluster, music, local, tmp_path):
  if not cluster.has_links:
    pytest.skip('needs the right to create network namespaces')
  driver = cluster.driver.start(
    'mgc_jax',
    *_prepare_words(music, tmp_path),
    f'--scheduler={cluster.address}',
  )
  driver.wait_for(lambda: len(_unfinished(tmp_path)) == 2)
  cluster.workers[1].cut_off()
  assert driver.wait() == 0, driver.output
  assert cluster.scheduler.output.count('Remove worker addr') == 1
  _assert_equal(_records(tmp_path), local)
