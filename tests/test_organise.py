"""Organising a collection never loses or overwrites a file."""

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
  """The folder of six indexed files `music/<album>/<n>.mp3`."""
  return make(tmp_path, 6)


@pytest.mark.parametrize('method', ['link', 'copy', 'move'])
def test_undo_reverts_organise(method, music, tmp_path):
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


def test_nothing_is_overwritten(music, tmp_path):
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


def test_uncertain_tracks_and_invalid_names_get_folders(music, tmp_path):
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


def test_artist_folders_have_the_names_of_the_artists(music, tmp_path):
  """Printable characters are kept; those not allowed in names are replaced."""
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


def test_files_of_a_deleted_folder_are_reported(music, tmp_path, capsys):
  shutil.rmtree(music / 'album 1')
  assert sort(tmp_path) == 2
  output = capsys.readouterr().err
  for i in (1, 4):
    assert f'{music}/album 1/{i}.mp3: No such file or directory' in output
  assert len(names_in(tmp_path / 'sorted')) == 4


def test_changed_files_are_left_and_the_others_organised(music, tmp_path):
  changed, gone, *_ = sorted(music.rglob('*.mp3'))
  changed.write_text('another song by now')
  gone.unlink()
  assert sort(tmp_path) == 2
  assert changed.read_text() == 'another song by now'
  assert len(names_in(tmp_path / 'sorted')) == 4


def test_undo_keeps_edited_copies_and_copies_without_original(music, tmp_path):
  assert sort(tmp_path, 'copy') == 0
  ours = sorted((tmp_path / 'sorted').rglob('*.mp3'))
  ours[0].write_text('edited')
  sources = sorted(music.rglob('*.mp3'))
  next(s for s in sources if s.name == ours[1].name).unlink()
  before = contents(tmp_path / 'music', tmp_path / 'sorted')
  assert unsort(tmp_path) == 2
  assert sorted((tmp_path / 'sorted').rglob('*.mp3')) == ours[:2]
  assert set(contents(music, tmp_path / 'sorted')) == set(before)


def test_undo_of_a_move_overwrites_nothing(music, tmp_path):
  names = names_in(music)
  assert sort(tmp_path) == 0
  (music / names[0]).parent.mkdir(parents=True, exist_ok=True)
  (music / names[0]).write_text('a new song')
  assert unsort(tmp_path) == 1
  assert (music / names[0]).read_text() == 'a new song'
  assert len(names_in(tmp_path / 'sorted')) == 1


def test_an_indexed_target_or_another_method_is_rejected(music, tmp_path):
  for to in (music / 'sorted', music):
    with pytest.raises(ConfigError, match='is indexed, so tracks would be'):
      sort(tmp_path, 'copy', to=to)
  assert sort(tmp_path, 'link') == 0
  with pytest.raises(ConfigError, match='was filled with --link'):
    sort(tmp_path, 'move')


def test_a_damaged_journal_is_reported_and_a_partial_line_ignored(
  music, tmp_path
):
  assert sort(tmp_path) == 0
  journal = Journal(tmp_path / 'index')
  whole = journal.path.read_bytes()
  journal.path.write_bytes(whole + b'{"target": "/x", "me')
  assert len(journal.records()) == 6
  journal.write(journal.records()[0], 'undone')
  assert len(journal.records()) == 5
  for damaged in (b'{}', b'[1]', b'no json', b'\xff', b'{"method": []}'):
    journal.path.write_bytes(damaged + b'\n' + whole)
    with pytest.raises(DataError, match='line 1 is damaged|cannot be read'):
      journal.records()


def _run(tmp_path, *words):
  index = f'--index={tmp_path / "index"}'
  done = run_command('mgc_jax.collection', *words, index)
  assert 'Traceback' not in done.stderr
  return done


def test_files_that_the_user_copied_or_linked_back_are_kept(music, tmp_path):
  """No later command deletes them."""
  assert sort(tmp_path) == 0
  *_, last = Journal(tmp_path / 'index').records()
  os.makedirs(os.path.dirname(last.source), exist_ok=True)
  shutil.copy2(last.to, last.source)
  assert _run(tmp_path, 'tag').returncode == 1  # the files are not audio
  assert os.path.exists(last.source) and os.path.exists(last.to)
  os.unlink(last.source)
  os.symlink(last.to, last.source)
  assert unsort(tmp_path) == 1
  assert os.path.isfile(last.to) and not os.path.islink(last.to)


def test_a_target_above_the_source_can_be_continued(music, tmp_path):
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


def test_a_link_at_the_path_of_a_partial_copy_is_not_followed(music, tmp_path):
  victim = tmp_path / 'victim'
  victim.write_text('precious')
  to = tmp_path / 'sorted' / 'jazz' / 'album 0' / '0.mp3'
  to.parent.mkdir(parents=True)
  os.symlink(victim, placing.partial_path(str(to)))
  assert sort(tmp_path, 'copy') == 0
  assert victim.read_text() == 'precious'
  assert to.read_bytes() == b'music 0' * 50 and not to.is_symlink()


def test_a_failed_link_is_not_recorded_as_done(music, tmp_path):
  blocked = tmp_path / 'sorted' / 'jazz'
  blocked.parent.mkdir()
  blocked.write_text('a file at the path of a folder')
  assert sort(tmp_path, 'link') == 3
  blocked.unlink()
  assert unsort(tmp_path) == 0
  assert sort(tmp_path, 'copy') == 0


ALL_KINDS = ('cover', 'cue', 'lrc', 'm3u')


def _with_companions(music):
  """Adds files to two albums: one of both genres, and one of jazz alone."""
  with Index(music.parent / 'index') as index:
    for i in range(2):
      path = music / 'all jazz' / f'{i}.mp3'
      path.parent.mkdir(exist_ok=True)
      path.write_text(f'all jazz {i}')
      put(index, path, music, genre='jazz')
  for album in ('album 0', 'all jazz'):
    for name in ('Folder.JPG', '0.lrc', 'x.cue', 'all.m3u8', 'notes.txt'):
      (music / album / name).write_text(f'{album} {name}')
    (music / album / '.hidden.jpg').write_text(album)


@pytest.mark.parametrize('method', ['link', 'copy', 'move'])
def test_companions_go_with_an_album_that_stays_together(
  method, music, tmp_path
):
  _with_companions(music)
  before, names = contents(music), names_in(music)
  assert sort(tmp_path, method, kinds=ALL_KINDS) == 0
  there = tmp_path / 'sorted' / 'jazz' / 'all jazz'
  wanted = ['0.lrc', '0.mp3', '1.mp3', 'Folder.JPG', 'all.m3u8', 'x.cue']
  assert names_in(there) == wanted
  assert (there / 'x.cue').read_text() == 'all jazz x.cue'
  # The tracks of the other album are in two folders now.
  assert len(names_in(tmp_path / 'sorted')) == 6 + len(wanted)
  assert (music / 'album 0' / 'x.cue').exists()
  if method == 'move':
    assert names_in(music / 'all jazz') == ['.hidden.jpg', 'notes.txt']
  assert sort(tmp_path, method, kinds=ALL_KINDS) == 0
  assert names_in(there) == wanted
  assert unsort(tmp_path) == 0
  assert (contents(music), names_in(music)) == (before, names)
  assert names_in(tmp_path / 'sorted') == []


def test_only_the_companions_asked_for_are_moved(music, tmp_path):
  _with_companions(music)
  assert sort(tmp_path, kinds=['cover']) == 0
  there = tmp_path / 'sorted' / 'jazz' / 'all jazz'
  assert names_in(there) == ['0.mp3', '1.mp3', 'Folder.JPG']


def test_companions_stay_with_a_track_that_is_not_moved(
  music, tmp_path, capsys
):
  _with_companions(music)
  (music / 'all jazz' / 'not indexed.mp3').write_text('new')
  sort(tmp_path, kinds=ALL_KINDS)
  there = tmp_path / 'sorted' / 'jazz' / 'all jazz'
  assert names_in(there) == ['0.mp3', '1.mp3']
  unsort(tmp_path)
  (music / 'all jazz' / 'not indexed.mp3').unlink()
  (music / 'all jazz' / '1.mp3').write_text('changed since')
  assert sort(tmp_path, kinds=ALL_KINDS) == 5
  assert names_in(there) == ['0.mp3']
  assert 'x.cue: a track stays in its folder' in capsys.readouterr().err


def test_companions_follow_after_an_interrupted_move(music, tmp_path):
  _with_companions(music)
  sort(tmp_path)  # as if the process had been killed after the tracks
  assert sort(tmp_path, kinds=ALL_KINDS) == 0
  there = tmp_path / 'sorted' / 'jazz' / 'all jazz'
  assert (there / 'Folder.JPG').read_text() == 'all jazz Folder.JPG'


def test_levels_and_companions_of_the_command(music, tmp_path):
  _with_companions(music)
  index, to = f'--index={tmp_path / "index"}', tmp_path / 'sorted'
  command = ['organise', index, f'--to={to}', '--by=genre,artist']
  done = run_command(
    'mgc_jax.collection', *command, '--with=cover,cue', '--copy'
  )
  assert f'{to}/jazz/Ann/all jazz/x.cue\n' in done.stdout
  assert '10 files; nothing was changed' in done.stdout
  done = run_command('mgc_jax.collection', *command, '--with=cover,scans')
  assert done.returncode == 2
  assert 'scans: must be one or several of cover,cue,lrc,m3u' in done.stderr
