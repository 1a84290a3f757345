"""Sorting a collection: nothing is lost, whatever happens."""

import os
import shutil
import sys

import pytest

from mgc_jax.collection import placing
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal
from mgc_jax.system.errors import ConfigError, DataError
from tests.commands import run_command
from tests.indexed_music import contents, make, names_in, put, sort, unsort

COMMAND = [sys.executable, '-m', 'mgc_jax.collection']


@pytest.fixture
def music(tmp_path):
  """An index of `music/<album>/<n>.mp3`, which nobody needs to decode."""
  return make(tmp_path, 6)


@pytest.mark.parametrize('method', ['link', 'copy', 'move'])
def test_undo_takes_all_back(method, music, tmp_path):
  before, names = contents(tmp_path / 'music'), names_in(music)
  assert sort(tmp_path, method, ('genre', 'artist')) == 0
  found = names_in(tmp_path / 'sorted')
  assert len(found) == 6 and found[0] == 'jazz/Ann/album 0/0.mp3'
  assert (len(names_in(music)) == 0) == (method == 'move')
  first = tmp_path / 'sorted' / found[0]
  assert first.is_symlink() == (method == 'link')
  assert first.read_bytes() == b'music 0' * 50
  assert sort(tmp_path, method) == 0
  assert names_in(tmp_path / 'sorted') == found
  assert unsort(tmp_path) == 0
  assert (contents(music), names_in(music)) == (before, names)
  assert not list((tmp_path / 'sorted').iterdir())
  assert unsort(tmp_path) == 0


def test_nothing_is_written_over(music, tmp_path):
  for name in ('x/Song.mp3', 'x/song.mp3'):
    (music / name).parent.mkdir(exist_ok=True)
    (music / name).write_text(name)
    with Index(tmp_path / 'index') as index:
      put(index, music / name, music)
  theirs = tmp_path / 'sorted' / 'jazz' / 'album 0' / '0.mp3'
  theirs.parent.mkdir(parents=True)
  theirs.write_text('mine')
  before = contents(music, tmp_path / 'sorted')
  assert sort(tmp_path) == 0
  assert theirs.read_text() == 'mine'
  assert theirs.with_name('0 (2).mp3').read_text() == 'music 0' * 50
  assert (tmp_path / 'sorted/jazz/x/Song.mp3').read_text() == 'x/Song.mp3'
  assert (tmp_path / 'sorted/jazz/x/song (2).mp3').read_text() == 'x/song.mp3'
  assert contents(music, tmp_path / 'sorted') == before
  with pytest.raises(FileExistsError):
    placing.move(str(theirs), str(theirs.with_name('0 (2).mp3')))
  with pytest.raises(FileExistsError):
    placing.copy(str(theirs), str(theirs.with_name('0 (2).mp3')))
  assert contents(music, tmp_path / 'sorted') == before


def test_uncertain_tracks_and_odd_names_have_folders(music, tmp_path):
  odd = music / os.fsdecode(b'\xff\n.mp3')
  odd.write_text('odd')
  with Index(tmp_path / 'index') as index:
    put(index, odd, music, genre='r/n b: ', artist='../..')
    low = names_in(music)[0]
    put(index, music / low, music, probability=0.3)
  assert sort(tmp_path, 'copy', ('genre', 'artist')) == 0
  found = names_in(tmp_path / 'sorted')
  assert f'uncertain/Ann/{low}' in found
  assert os.fsdecode(b'r_n b_/_.._/\xff\n.mp3').replace('_.._', '_') in [
    name.replace('_..', '_') for name in found
  ]


def test_folders_of_artists_are_named_as_the_artists(music, tmp_path):
  """What prints is kept, and what no file system takes is replaced."""
  names = {
    '宇多田\u3000ヒカル': '宇多田\u3000ヒカル',
    'Qui\xa0\u200d\xad?': 'Qui\xa0\u200d\xad_',
    'AC/DC\\:*"<>|': 'AC_DC_______',
    'line\u2028break\x07': 'line_break_',
    'Various Artists': 'unknown artist',
    'VA': 'unknown artist',
    '<unknown>': 'unknown artist',
    '': 'unknown artist',
  }
  for i, artist in enumerate(names):
    path = music / f'new {i}.mp3'
    path.write_text(artist)
    with Index(tmp_path / 'index') as index:
      put(index, path, music, artist=artist)
  assert sort(tmp_path, 'copy', ('artist',)) == 0
  found = names_in(tmp_path / 'sorted')
  for i, folder in enumerate(names.values()):
    assert f'{folder}/new {i}.mp3' in found


def test_files_of_a_folder_that_is_gone_are_named(music, tmp_path, capsys):
  shutil.rmtree(music / 'album 1')
  assert sort(tmp_path) == 2
  said = capsys.readouterr().err
  for i in (1, 4):
    assert f'{music}/album 1/{i}.mp3: No such file or directory' in said
  assert len(names_in(tmp_path / 'sorted')) == 4


def test_what_changed_since_stays_and_the_rest_goes_on(music, tmp_path):
  changed, gone, *_ = sorted(music.rglob('*.mp3'))
  changed.write_text('another song by now')
  gone.unlink()
  assert sort(tmp_path) == 2
  assert changed.read_text() == 'another song by now'
  assert len(names_in(tmp_path / 'sorted')) == 4


def test_undo_leaves_what_is_no_longer_its_own(music, tmp_path):
  assert sort(tmp_path, 'copy') == 0
  ours = sorted((tmp_path / 'sorted').rglob('*.mp3'))
  ours[0].write_text('edited')
  sources = sorted(music.rglob('*.mp3'))
  next(s for s in sources if s.name == ours[1].name).unlink()
  before = contents(tmp_path / 'music', tmp_path / 'sorted')
  assert unsort(tmp_path) == 2
  assert sorted((tmp_path / 'sorted').rglob('*.mp3')) == ours[:2]
  assert set(contents(music, tmp_path / 'sorted')) == set(before)


def test_undo_of_a_move_writes_over_nothing(music, tmp_path):
  names = names_in(music)
  assert sort(tmp_path) == 0
  (music / names[0]).parent.mkdir(parents=True, exist_ok=True)
  (music / names[0]).write_text('a new song')
  assert unsort(tmp_path) == 1
  assert (music / names[0]).read_text() == 'a new song'
  assert len(names_in(tmp_path / 'sorted')) == 1


def test_a_target_inside_the_source_or_of_another_method(music, tmp_path):
  for to in (music / 'sorted', music):
    with pytest.raises(ConfigError, match='is indexed: its tracks would be'):
      sort(tmp_path, 'copy', to=to)
  assert sort(tmp_path, 'link') == 0
  with pytest.raises(ConfigError, match='was filled by --link'):
    sort(tmp_path, 'move')


def test_a_damaged_journal_is_named_and_a_cut_line_is_not_there(
  music, tmp_path
):
  assert sort(tmp_path) == 0
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


def _reopened(tmp_path, *words):
  index = f'--index={tmp_path / "index"}'
  done = run_command('mgc_jax.collection', *words, index)
  assert 'Traceback' not in done.stderr
  return done


def test_what_a_person_did_meanwhile_is_left_alone(music, tmp_path):
  """Copied back, or linked back: no later command deletes either."""
  assert sort(tmp_path) == 0
  *_, last = Journal(tmp_path / 'index').records()
  os.makedirs(os.path.dirname(last.source), exist_ok=True)
  shutil.copy2(last.to, last.source)
  assert _reopened(tmp_path, 'tag').returncode == 1  # they are no music
  assert os.path.exists(last.source) and os.path.exists(last.to)
  os.unlink(last.source)
  os.symlink(last.to, last.source)
  assert unsort(tmp_path) == 1
  assert os.path.isfile(last.to) and not os.path.islink(last.to)


def test_a_target_above_the_source_goes_on(music, tmp_path):
  assert sort(tmp_path, to=tmp_path) == 0
  assert not names_in(music)
  new = music / 'new.mp3'
  new.write_text('new')
  with Index(tmp_path / 'index') as index:
    put(index, new, music)
  assert sort(tmp_path, to=tmp_path) == 0
  assert (tmp_path / 'jazz' / 'new.mp3').read_text() == 'new'


def test_a_continued_run_numbers_names_that_differ_in_case(music, tmp_path):
  for name in ('Song.mp3', 'song.mp3'):
    (music / name).write_text(name)
    with Index(tmp_path / 'index') as index:
      put(index, music / name, music)
    assert sort(tmp_path) == 0
  assert (tmp_path / 'sorted/jazz/song (2).mp3').read_text() == 'song.mp3'


def test_a_link_in_the_way_of_a_copy_is_not_followed(music, tmp_path):
  victim = tmp_path / 'victim'
  victim.write_text('precious')
  to = tmp_path / 'sorted' / 'jazz' / 'album 0' / '0.mp3'
  to.parent.mkdir(parents=True)
  os.symlink(victim, placing.partial_path(str(to)))
  assert sort(tmp_path, 'copy') == 0
  assert victim.read_text() == 'precious'
  assert to.read_bytes() == b'music 0' * 50 and not to.is_symlink()


def test_a_failed_link_is_no_link(music, tmp_path):
  blocked = tmp_path / 'sorted' / 'jazz'
  blocked.parent.mkdir()
  blocked.write_text('a file where a folder would be')
  assert sort(tmp_path, 'link') == 3
  blocked.unlink()
  assert unsort(tmp_path) == 0
  assert sort(tmp_path, 'copy') == 0
