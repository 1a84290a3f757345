"""Sorting a collection: nothing is lost, whatever happens."""

import collections
import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mgc_jax.collection import organise, placing
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal
from mgc_jax.errors import ConfigError, DataError
from tests.processes import ROOT, Process

COMMAND = [sys.executable, '-m', 'mgc_jax.collection']
_GENRES = ('jazz', 'rock')


@pytest.fixture
def music(tmp_path):
  """An index of `music/<album>/<n>.mp3`, which nobody needs to decode."""
  return _make(tmp_path, 6)


def _make(tmp_path, num_tracks):
  with Index(tmp_path / 'index', create=True) as index:
    index.set_model('crnn', '0' * 64, _GENRES)
    for i in range(num_tracks):
      path = tmp_path / 'music' / f'album {i % 3}' / f'{i}.mp3'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(f'music {i}'.encode() * 50)
      _put(index, path, tmp_path / 'music', genre=_GENRES[i % 2])
  return tmp_path / 'music'


def _put(index, path, root, **values):
  found = os.stat(path)
  facts = {'artist': 'Ann', 'title': '', 'duration_s': 2.0}
  facts |= {'genre': 'jazz', 'probability': 0.9, **values}
  index.put(
    Entry(str(path), str(root), found.st_size, found.st_mtime_ns, **facts),
    np.ones(2),
    np.ones(4),
  )


def _organise(tmp_path, method='move', levels=('genre',), to=None):
  target = os.path.realpath(to or tmp_path / 'sorted')
  with Index(tmp_path / 'index') as index:
    journal = Journal(index.path)
    plan = organise.plan(index, journal, target, method, levels, 0.5)
    return organise.apply(index, journal, plan.records)


def _undo(tmp_path):
  target = os.path.realpath(tmp_path / 'sorted')
  with Index(tmp_path / 'index') as index:
    journal = Journal(index.path)
    return organise.undo(index, journal, journal.records(target))


def _contents(*folders):
  """How often each content is there; links and what is not whole are none."""
  return collections.Counter(
    hashlib.sha256(path.read_bytes()).hexdigest()
    for folder in folders
    for path in folder.rglob('*')
    if path.is_file() and not path.is_symlink() and path.suffix != '.partial'
  )


def _names(folder):
  return sorted(
    str(path.relative_to(folder))
    for path in folder.rglob('*')
    if not path.is_dir()
  )


@pytest.mark.parametrize('method', ['link', 'copy', 'move'])
def test_undo_takes_all_back(method, music, tmp_path):
  before, names = _contents(tmp_path / 'music'), _names(music)
  assert _organise(tmp_path, method, ('genre', 'artist')) == 0
  found = _names(tmp_path / 'sorted')
  assert len(found) == 6 and found[0] == 'jazz/Ann/album 0/0.mp3'
  assert (len(_names(music)) == 0) == (method == 'move')
  first = tmp_path / 'sorted' / found[0]
  assert first.is_symlink() == (method == 'link')
  assert first.read_bytes() == b'music 0' * 50
  assert _organise(tmp_path, method) == 0
  assert _names(tmp_path / 'sorted') == found
  assert _undo(tmp_path) == 0
  assert (_contents(music), _names(music)) == (before, names)
  assert not list((tmp_path / 'sorted').iterdir())
  assert _undo(tmp_path) == 0


def test_nothing_is_written_over(music, tmp_path):
  for name in ('x/Song.mp3', 'x/song.mp3'):
    (music / name).parent.mkdir(exist_ok=True)
    (music / name).write_text(name)
    with Index(tmp_path / 'index') as index:
      _put(index, music / name, music)
  theirs = tmp_path / 'sorted' / 'jazz' / 'album 0' / '0.mp3'
  theirs.parent.mkdir(parents=True)
  theirs.write_text('mine')
  before = _contents(music, tmp_path / 'sorted')
  assert _organise(tmp_path) == 0
  assert theirs.read_text() == 'mine'
  assert theirs.with_name('0 (2).mp3').read_text() == 'music 0' * 50
  assert (tmp_path / 'sorted/jazz/x/Song.mp3').read_text() == 'x/Song.mp3'
  assert (tmp_path / 'sorted/jazz/x/song (2).mp3').read_text() == 'x/song.mp3'
  assert _contents(music, tmp_path / 'sorted') == before
  with pytest.raises(FileExistsError):
    placing.move(str(theirs), str(theirs.with_name('0 (2).mp3')))
  with pytest.raises(FileExistsError):
    placing.copy(str(theirs), str(theirs.with_name('0 (2).mp3')))
  assert _contents(music, tmp_path / 'sorted') == before


def test_uncertain_tracks_and_odd_names_have_folders(music, tmp_path):
  odd = music / os.fsdecode(b'\xff\n.mp3')
  odd.write_text('odd')
  with Index(tmp_path / 'index') as index:
    _put(index, odd, music, genre='r/n b: ', artist='../..')
    low = _names(music)[0]
    _put(index, music / low, music, probability=0.3)
  assert _organise(tmp_path, 'copy', ('genre', 'artist')) == 0
  found = _names(tmp_path / 'sorted')
  assert f'uncertain/Ann/{low}' in found
  assert os.fsdecode(b'r_n b_/_.._/\xff\n.mp3').replace('_.._', '_') in [
    name.replace('_..', '_') for name in found
  ]


def test_what_changed_since_stays_and_the_rest_goes_on(music, tmp_path):
  changed, gone, *_ = sorted(music.rglob('*.mp3'))
  changed.write_text('another song by now')
  gone.unlink()
  assert _organise(tmp_path) == 2
  assert changed.read_text() == 'another song by now'
  assert len(_names(tmp_path / 'sorted')) == 4


def test_undo_leaves_what_is_no_longer_its_own(music, tmp_path):
  assert _organise(tmp_path, 'copy') == 0
  ours = sorted((tmp_path / 'sorted').rglob('*.mp3'))
  ours[0].write_text('edited')
  sources = sorted(music.rglob('*.mp3'))
  next(s for s in sources if s.name == ours[1].name).unlink()
  before = _contents(tmp_path / 'music', tmp_path / 'sorted')
  assert _undo(tmp_path) == 2
  assert sorted((tmp_path / 'sorted').rglob('*.mp3')) == ours[:2]
  assert set(_contents(music, tmp_path / 'sorted')) == set(before)


def test_undo_of_a_move_writes_over_nothing(music, tmp_path):
  names = _names(music)
  assert _organise(tmp_path) == 0
  (music / names[0]).parent.mkdir(parents=True, exist_ok=True)
  (music / names[0]).write_text('a new song')
  assert _undo(tmp_path) == 1
  assert (music / names[0]).read_text() == 'a new song'
  assert len(_names(tmp_path / 'sorted')) == 1


def test_a_target_inside_the_source_or_of_another_method(music, tmp_path):
  for to in (music / 'sorted', music):
    with pytest.raises(ConfigError, match='is indexed: its tracks would be'):
      _organise(tmp_path, 'copy', to=to)
  assert _organise(tmp_path, 'link') == 0
  with pytest.raises(ConfigError, match='was filled by --link'):
    _organise(tmp_path, 'move')


@pytest.mark.parametrize('method', ['copy', 'move'])
def test_a_disk_that_fills(method, tmp_path):
  if os.geteuid() or not shutil.which('mount'):
    pytest.skip('only root may mount a small disk')
  music, small = _make(tmp_path, 40), tmp_path / 'small'
  small.mkdir()
  for path in music.rglob('*.mp3'):
    path.write_bytes(path.read_bytes() * 200)  # 70 to 80 kB each
    with Index(tmp_path / 'index') as index:
      _put(index, path, music)
  before = _contents(music)
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', str(small)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('this machine lets nobody mount')
  try:
    with pytest.raises(DataError, match='No space left.*every file is whole'):
      _organise(tmp_path, method, to=small)
    found = _contents(music, small)
    assert set(found) == set(before)  # no piece of a file is anywhere
    assert 5 < len(_names(small)) < 20
    subprocess.run(['mount', '-o', 'remount,size=9m', str(small)], check=True)
    assert _organise(tmp_path, method, to=small) == 0
    assert _contents(small) == before
  finally:
    subprocess.run(['umount', str(small)], check=True)


def test_a_damaged_journal_is_named_and_a_cut_line_is_not_there(
  music, tmp_path
):
  assert _organise(tmp_path) == 0
  journal = Journal(tmp_path / 'index')
  whole = journal.path.read_bytes()
  journal.path.write_bytes(whole + b'{"target": "/x", "me')
  assert len(journal.records()) == 6
  journal.write(journal.records()[0], 'undone')
  assert len(journal.records()) == 5
  for spoilt in (b'{}', b'[1]', b'no json', b'\xff', b'{"method": []}'):
    journal.path.write_bytes(spoilt + b'\n' + whole)
    with pytest.raises(DataError, match='line 1 is damaged|cannot be read'):
      journal.records()


def _size(path):
  return path.stat().st_size if path.exists() else 0


_NO_LINKS = """
import errno, os
def refuse(*_, **__):
  raise OSError(errno.EPERM, 'no hard links on this file system')
os.link = refuse
"""


@pytest.mark.parametrize(('num_kills', 'has_links'), [(50, True), (10, False)])
def test_a_killed_move_loses_no_file(num_kills, has_links, tmp_path):
  music, target = _make(tmp_path, 200), tmp_path / 'sorted'
  before, names = _contents(music), _names(music)
  options = [f'--index={tmp_path / "index"}', f'--to={target}', '--apply']
  words = {
    'organise': [*COMMAND, 'organise', '--move', *options],
    'undo': [*COMMAND, 'undo', *options],
  }
  env = {}
  if not has_links:  # as FAT, and as from one disk to another
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
      assert process.wait() == 0, process.said
      num_turns += 1
      doing = 'undo' if doing == 'organise' else 'organise'
    else:
      process.kill()
      killed += 1
    found = set(_contents(music, target))
    assert set(before) <= found
  assert num_turns >= num_kills // 25
  for command in ('organise', 'undo'):
    process = Process(words[command], **env)
    assert process.wait() == 0, process.said
    assert _contents(music, target) == before
  assert _names(music) == names and not _names(target)
  with Index(tmp_path / 'index') as index:
    assert all(os.path.exists(entry.path) for entry in index.entries())


def _reopened(tmp_path, *words):
  command = [*COMMAND, *words, f'--index={tmp_path / "index"}']
  done = subprocess.run(command, capture_output=True, text=True)
  assert 'Traceback' not in done.stderr
  return done


def test_what_a_person_did_meanwhile_is_left_alone(music, tmp_path):
  """Copied back, or linked back: no later command deletes either."""
  assert _organise(tmp_path) == 0
  *_, last = Journal(tmp_path / 'index').records()
  os.makedirs(os.path.dirname(last.source), exist_ok=True)
  shutil.copy2(last.to, last.source)
  assert _reopened(tmp_path, 'tag').returncode == 1  # they are no music
  assert os.path.exists(last.source) and os.path.exists(last.to)
  os.unlink(last.source)
  os.symlink(last.to, last.source)
  assert _undo(tmp_path) == 1
  assert os.path.isfile(last.to) and not os.path.islink(last.to)


def test_a_target_above_the_source_goes_on(music, tmp_path):
  assert _organise(tmp_path, to=tmp_path) == 0
  assert not _names(music)
  new = music / 'new.mp3'
  new.write_text('new')
  with Index(tmp_path / 'index') as index:
    _put(index, new, music)
  assert _organise(tmp_path, to=tmp_path) == 0
  assert (tmp_path / 'jazz' / 'new.mp3').read_text() == 'new'


def test_a_continued_run_numbers_names_that_differ_in_case(music, tmp_path):
  for name in ('Song.mp3', 'song.mp3'):
    (music / name).write_text(name)
    with Index(tmp_path / 'index') as index:
      _put(index, music / name, music)
    assert _organise(tmp_path) == 0
  assert (tmp_path / 'sorted/jazz/song (2).mp3').read_text() == 'song.mp3'


def test_a_link_in_the_way_of_a_copy_is_not_followed(music, tmp_path):
  victim = tmp_path / 'victim'
  victim.write_text('precious')
  to = tmp_path / 'sorted' / 'jazz' / 'album 0' / '0.mp3'
  to.parent.mkdir(parents=True)
  os.symlink(victim, placing.partial_path(str(to)))
  assert _organise(tmp_path, 'copy') == 0
  assert victim.read_text() == 'precious'
  assert to.read_bytes() == b'music 0' * 50 and not to.is_symlink()


def test_a_failed_link_is_no_link(music, tmp_path):
  blocked = tmp_path / 'sorted' / 'jazz'
  blocked.parent.mkdir()
  blocked.write_text('a file where a folder would be')
  assert _organise(tmp_path, 'link') == 3
  blocked.unlink()
  assert _undo(tmp_path) == 0
  assert _organise(tmp_path, 'copy') == 0
