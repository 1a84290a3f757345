"""Organising a collection on a full disk, and killed at any time."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal
from mgc_jax.system.errors import DataError
from tests.indexed_music import contents, make, names_in, put, sort
from tests.processes import ROOT, Process

COMMAND = [sys.executable, '-m', 'mgc_jax.collection']


@pytest.mark.parametrize('method', ['copy', 'move'])
def test_a_full_disk_loses_no_file_and_organise_continues(method, tmp_path):
  if os.geteuid() or not shutil.which('mount'):
    pytest.skip('only root may mount a small disk')
  music, small = make(tmp_path, 40), tmp_path / 'small'
  small.mkdir()
  for path in music.rglob('*.mp3'):
    path.write_bytes(path.read_bytes() * 200)  # 70 to 80 kB each
    with Index(tmp_path / 'index') as index:
      put(index, path, music)
  before = contents(music)
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', str(small)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('mounting is not permitted')
  try:
    with pytest.raises(DataError, match='No space left.*every file is intact'):
      sort(tmp_path, method, to=small)
    found = contents(music, small)
    assert set(found) == set(before)  # there are no parts of files
    assert 5 < len(names_in(small)) < 20
    subprocess.run(['mount', '-o', 'remount,size=9m', str(small)], check=True)
    assert sort(tmp_path, method, to=small) == 0
    assert contents(small) == before
  finally:
    subprocess.run(['umount', str(small)], check=True)


def _size(path):
  return path.stat().st_size if path.exists() else 0


_NO_LINKS = """
import errno, os
def refuse(*_, **__):
  raise OSError(errno.EPERM, 'no hard links on this file system')
os.link = refuse
"""


@pytest.mark.parametrize(
  ('num_kills', 'has_links'),
  [
    (3, True),
    pytest.param(50, True, marks=pytest.mark.slow),
    pytest.param(10, False, marks=pytest.mark.slow),
  ],
)
def test_a_killed_move_loses_no_file(num_kills, has_links, tmp_path):
  music, target = make(tmp_path, 200), tmp_path / 'sorted'
  before, names = contents(music), names_in(music)
  options = [f'--index={tmp_path / "index"}', f'--to={target}', '--apply']
  words = {
    'organise': [*COMMAND, 'organise', '--move', *options],
    'undo': [*COMMAND, 'undo', *options],
  }
  env = {}
  if not has_links:  # as on FAT, and between two disks
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'sitecustomize.py').write_text(_NO_LINKS)
    env['PYTHONPATH'] = f'{tmp_path / "site"}:{ROOT}'
  rng = np.random.default_rng(0)
  journal = Journal(tmp_path / 'index').path
  killed, doing, num_turns = 0, 'organise', 0
  while killed < num_kills:
    process = Process(words[doing], **env)
    wanted = _size(journal) + 700 * rng.integers(1, 20)  # bytes of two lines
    process.wait_for(lambda wanted=wanted: _size(journal) >= wanted)
    if process.has_ended():
      assert process.wait() == 0, process.output
      num_turns += 1
      doing = 'undo' if doing == 'organise' else 'organise'
    else:
      process.kill()
      killed += 1
    found = set(contents(music, target))
    assert set(before) <= found
  assert num_turns >= num_kills // 25
  for command in ('organise', 'undo'):
    process = Process(words[command], **env)
    assert process.wait() == 0, process.output
    assert contents(music, target) == before
  assert names_in(music) == names and not names_in(target)
  with Index(tmp_path / 'index') as index:
    assert all(os.path.exists(entry.path) for entry in index.entries())
