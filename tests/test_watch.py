"""`mgc collection index --watch`, as a real process on a real folder."""

import os
import re
import shutil
import signal
import sys

import pytest

from mgc_jax.collection.index import Index
from mgc_jax.models import bundle as bundles
from mgc_jax.system.lock import exclusive
from tests.conftest import write_tone
from tests.processes import INTERRUPTIBLE, Process


@pytest.fixture
def watcher(tmp_path, bundle):
  """A process that watches the folder `music`, which has one song."""
  bundles.save(bundle, tmp_path / 'model')
  write_tone(tmp_path / 'music' / 'a.wav', seconds=4.0)
  words = ['collection', f'--index={tmp_path / "index"}', 'index', '--watch']
  words += [f'--model={tmp_path / "model"}', tmp_path / 'music']
  process = Process([*INTERRUPTIBLE, *words])
  _wait(process, 'watching .*music; press Ctrl-C')
  yield process
  process.kill()


def _wait(process, pattern):
  process.wait_for(lambda: re.search(pattern, process.output), timeout_s=60)
  assert re.search(pattern, process.output), process.output


def _paths(tmp_path):
  with Index(tmp_path / 'index') as index:
    folder = tmp_path / 'music'
    return [os.path.relpath(x.path, folder) for x in index.entries()]


@pytest.mark.slow  # needs an extra
def test_files_that_are_added_moved_and_deleted_are_noticed(watcher, tmp_path):
  pytest.importorskip('watchdog')
  music = tmp_path / 'music'
  assert _paths(tmp_path) == ['a.wav']
  (music / 'notes.txt').write_text('no song')
  write_tone(tmp_path / 'b.flac', seconds=4.0)
  (music / 'album').mkdir()
  shutil.copy(tmp_path / 'b.flac', music / 'album' / 'b.flac')
  _wait(watcher, '1 indexed, 1 unchanged, 0 removed')
  assert _paths(tmp_path) == ['a.wav', 'album/b.flac']
  (music / 'album').rename(music / 'other')
  (music / 'c.wav').write_bytes((music / 'a.wav').read_bytes())
  _wait(watcher, '1 indexed, 2 unchanged, 0 removed')
  assert _paths(tmp_path) == ['a.wav', 'c.wav', 'other/b.flac']
  (music / 'a.wav').unlink()
  _wait(watcher, '0 indexed, 2 unchanged, 1 removed')
  # Reading the songs was not taken for a change.
  assert watcher.output.count('indexed') == 4
  os.kill(watcher.pid, signal.SIGINT)
  assert watcher.wait() == 0
  assert 'interrupted' not in watcher.output


@pytest.mark.slow
def test_other_commands_may_use_the_index_meanwhile(
  watcher, tmp_path, monkeypatch
):
  pytest.importorskip('watchdog')
  with exclusive(tmp_path / 'index.lock', lambda: pytest.fail('is locked')):
    write_tone(tmp_path / 'music' / 'b.wav', seconds=4.0)
    _wait(watcher, 'error: .*another process is using it')
  write_tone(tmp_path / 'music' / 'c.wav', seconds=4.0)
  _wait(watcher, '2 indexed, 1 unchanged')


def test_the_missing_extra_is_named(tmp_path):
  script = (
    'import sys; sys.modules["watchdog"] = None;'
    'from mgc_jax.__main__ import main; main()'
  )
  write_tone(tmp_path / 'music' / 'a.wav', seconds=0.1)
  index = f'--index={tmp_path / "index"}'
  command = [sys.executable, '-c', script, 'collection', index, 'index']
  process = Process([*command, tmp_path / 'music', '--watch'])
  assert process.wait() == 2
  assert "needs watchdog: pip install 'mgc_jax[watch]'" in process.output
