"""Folders that are renamed, deleted, or on a disk that is not mounted."""

import os
import shutil

import pytest

from mgc_jax.collection import roots
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal, TagJournal
from mgc_jax.collection.scan import scan
from mgc_jax.collection.tagging import Options, tag, undo
from mgc_jax.system.errors import ConfigError, DataError
from tests.conftest import write_tone
from tests.indexed_music import names_in, put


@pytest.fixture
def index(tmp_path):
  with Index(tmp_path / 'index', create=True) as opened:
    opened.set_model('crnn', '0' * 64, ('jazz', 'rock'))
    yield opened


def _music(index, root, *names):
  """Writes files and indexes them without running a model."""
  for name in names:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{name} of {root.name}')
    put(index, path, root)
  index.commit()
  return root


def _paths(index, folder):
  return [os.path.relpath(e.path, folder) for e in index.inside(str(folder))]


def _numbers(counts):
  return counts.classified, counts.unchanged, counts.forgotten, counts.failed


def test_deleted_files_are_removed_from_the_index(index, tmp_path, capsys):
  music = _music(index, tmp_path / 'music', 'a/1.mp3', 'a/2.mp3', '3.mp3')
  (music / 'a' / '1.mp3').unlink()
  assert _numbers(scan(index, str(music), None)) == (0, 2, 1, 0)
  assert _paths(index, music) == ['3.mp3', 'a/2.mp3']
  assert capsys.readouterr().err == ''


def test_a_file_of_any_kind_shows_that_a_folder_still_exists(index, tmp_path):
  """All songs of an album were deleted, but not its cover."""
  music = _music(index, tmp_path / 'music', 'a/1.mp3', 'a/b/2.mp3', '3.mp3')
  (music / 'a' / 'b' / 'cover.jpg').write_text('picture')
  (music / 'a' / '1.mp3').unlink()
  (music / 'a' / 'b' / '2.mp3').unlink()
  assert scan(index, str(music), None).forgotten == 2
  assert _paths(index, music) == ['3.mp3']


@pytest.mark.parametrize('state', ['empty', 'missing', 'of empty folders'])
def test_tracks_of_a_disk_that_is_not_mounted_are_kept(
  state, index, tmp_path, capsys
):
  names = ('nas/x/1.mp3', 'nas/x/2.mp3', 'nas/y/3.mp3', 'local/4.mp3')
  music = _music(index, tmp_path / 'music', *names)
  (music / 'nas').rename(tmp_path / 'away')
  if state != 'missing':
    (music / 'nas').mkdir()
  if state == 'of empty folders':
    (music / 'nas' / 'x').mkdir()
  assert _numbers(scan(index, str(music), None)) == (0, 1, 0, 0)
  assert len(_paths(index, music)) == 4
  output = capsys.readouterr().err
  assert output.count('\n') == 1
  now = 'missing' if state == 'missing' else 'empty'
  assert output.startswith(f'{music}/nas: {now}; the index keeps 3 tracks')
  assert f'--moved {music}/nas=NEW' in output
  assert f'forget {music}/nas\n' in output
  shutil.rmtree(music / 'nas', ignore_errors=True)
  (tmp_path / 'away').rename(music / 'nas')
  assert _numbers(scan(index, str(music), None)) == (0, 4, 0, 0)


def test_a_link_to_a_disk_that_is_not_mounted_keeps_its_tracks(
  index, tmp_path, capsys
):
  disk = tmp_path / 'disk'
  for name in ('1.mp3', '2.mp3'):
    disk.mkdir(exist_ok=True)
    (disk / name).write_text(name)
  music = _music(index, tmp_path / 'music', 'local/4.mp3')
  (music / 'nas').symlink_to(disk)
  for name in ('1.mp3', '2.mp3'):
    put(index, music / 'nas' / name, music)
  assert scan(index, str(music), None).unchanged == 3
  disk.rename(tmp_path / 'away')
  assert _numbers(scan(index, str(music), None)) == (0, 1, 0, 0)
  assert 'nas: missing; the index keeps 2 tracks' in capsys.readouterr().err


def test_broken_links_and_loops_do_not_count_as_files(index, tmp_path):
  music = _music(index, tmp_path / 'music', 'a/1.mp3', '2.mp3')
  (music / 'a' / '1.mp3').unlink()
  (music / 'a' / 'loop').symlink_to(music / 'a')
  (music / 'a' / 'broken').symlink_to(tmp_path / 'nowhere')
  assert scan(index, str(music), None).forgotten == 0
  assert _paths(index, music) == ['2.mp3', 'a/1.mp3']


def test_other_missing_or_empty_folders_are_reported(index, tmp_path, capsys):
  there = _music(index, tmp_path / 'there', '1.mp3')
  _music(index, tmp_path / 'mounted', '2.mp3')
  _music(index, tmp_path / 'empty now', '3.mp3', '4.mp3')
  _music(index, tmp_path / 'gone', '5.mp3')
  shutil.rmtree(tmp_path / 'gone')
  for path in (tmp_path / 'empty now').iterdir():
    path.unlink()
  scan(index, str(there), None)
  empty, gone = capsys.readouterr().err.splitlines()
  assert empty.startswith(f'{tmp_path}/empty now: empty; the index keeps 2')
  assert f"forget '{tmp_path}/empty now'" in empty
  assert gone.startswith(f'{tmp_path}/gone: missing; the index keeps 1 t')


def test_a_missing_or_empty_folder_is_rejected_with_advice(index, tmp_path):
  music = _music(index, tmp_path / 'music', '1.mp3', '2.mp3')
  shutil.rmtree(music)
  kept = f'the index keeps 2 tracks of it.*--moved {music}=NEW.*forget {music}'
  with pytest.raises(ConfigError, match=f'not a folder; {kept}'):
    scan(index, str(music), None)
  music.mkdir()
  with pytest.raises(DataError, match=f'no audio files in it.*; {kept}'):
    scan(index, str(music), None)
  with pytest.raises(ConfigError, match='other: not a folder$'):
    scan(index, str(tmp_path / 'other'), None)
  assert len(_paths(index, music)) == 2


def test_skipped_files_are_reported_on_one_line(index, tmp_path, capsys):
  music = _music(index, tmp_path / 'music', '1.mp3')
  for name in ('.Trash-1000/2.mp3', '@eaDir/3.mp3', '.4.mp3', 'cover.jpg'):
    (music / name).parent.mkdir(exist_ok=True)
    (music / name).write_text('no music')
  (music / 'link.mp3').symlink_to(music / '1.mp3')
  assert _numbers(scan(index, str(music), None)) == (0, 1, 0, 0)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'{music}: skipped: 1 files that are not audio')
  for reason in ('1 hidden files', '2 hidden or trash folders', '1 links to'):
    assert reason in line


def test_a_track_that_is_now_skipped_is_removed_from_the_index(index, tmp_path):
  """For example in a trash folder, which an older version indexed."""
  names = ('1.mp3', '#recycle/2.mp3', '.stversions/3.mp3')
  music = _music(index, tmp_path / 'music', *names)
  assert scan(index, str(music), None).forgotten == 2
  assert _paths(index, music) == ['1.mp3']


def test_forget_removes_a_missing_folder_and_touches_no_file(index, tmp_path):
  music = _music(index, tmp_path / 'music', 'a/1.mp3', 'a/2.mp3', 'ab/3.mp3')
  assert roots.forget(index, str(music / 'a')) == 2
  assert _paths(index, music) == ['ab/3.mp3']
  assert len(names_in(music)) == 3
  shutil.rmtree(music)
  assert roots.forget(index, f'{music}/') == 1
  with pytest.raises(ConfigError, match='no tracks of it; indexed folders: no'):
    roots.forget(index, str(music))


def test_forget_accepts_a_path_through_links(index, tmp_path):
  music = _music(index, tmp_path / 'music', 'nas/1.mp3', '2.mp3')
  (tmp_path / 'link').symlink_to(music)
  assert roots.forget(index, str(tmp_path / 'link' / 'nas')) == 1
  (music / 'nas2').symlink_to(tmp_path / 'disk')  # not mounted
  put(index, music / '2.mp3', music)
  entry = index.find(str(music / '2.mp3'))
  index.rename([(entry, str(music / 'nas2' / '2.mp3'), str(music))])
  assert roots.forget(index, str(tmp_path / 'link' / 'nas2')) == 1


def test_moved_keeps_the_predictions(index, tmp_path, capsys):
  music = _music(index, tmp_path / 'music', 'a/1.mp3', '2.mp3')
  put(index, music / 'a' / '1.mp3', music / 'a', genre='rock')
  before = {e.id: e.genre for e in index.entries()}
  music.rename(tmp_path / 'audio')
  old, new, number = roots.rename(index, f'{music}={tmp_path}/audio')
  assert (old, new, number) == (str(music), f'{tmp_path}/audio', 2)
  assert {e.id: e.genre for e in index.entries()} == before
  assert dict(index.roots()) == {f'{new}': 1, f'{new}/a': 1}
  assert _numbers(scan(index, new, None)) == (0, 2, 0, 0)
  assert capsys.readouterr().err == ''


def test_moved_replaces_tracks_indexed_at_the_new_paths(index, tmp_path):
  music = _music(index, tmp_path / 'music', '1.mp3', '2.mp3')
  wanted = {e.id for e in index.entries()}
  shutil.copytree(music, tmp_path / 'audio')
  _music(index, tmp_path / 'audio', '1.mp3', '3.mp3')
  roots.rename(index, f'{music}={tmp_path}/audio')
  found = {e.id for e in index.entries()}
  assert wanted < found and len(found) == 3
  assert _paths(index, tmp_path / 'audio') == ['1.mp3', '2.mp3', '3.mp3']


@pytest.mark.parametrize(('old', 'new'), [('m', 'm/m'), ('m/m', 'm')])
def test_a_folder_moved_into_or_out_of_itself_keeps_all_tracks(
  old, new, index, tmp_path
):
  root = tmp_path / 'root'
  names = [f'{old}/{name}' for name in ('1.mp3', 'm/1.mp3', 'm/m/1.mp3')]
  _music(index, root, *names)
  ids = {os.path.relpath(e.path, root / old): e.id for e in index.entries()}
  (root / old).rename(tmp_path / 'away')
  shutil.rmtree(root / new, ignore_errors=True)
  shutil.copytree(tmp_path / 'away', root / new)
  roots.rename(index, f'{root / old}={root / new}')
  found = {os.path.relpath(e.path, root / new): e.id for e in index.entries()}
  assert found == ids and len(ids) == 3
  assert dict(index.roots()) == {str(root): 3}


def test_moved_accepts_names_with_equals_signs(index, tmp_path):
  music = _music(index, tmp_path / 'a=b', '1.mp3')
  music.rename(tmp_path / 'c=d')
  moved = f'{tmp_path}/a=b={tmp_path}/c=d'
  assert roots.rename(index, moved)[1:] == (f'{tmp_path}/c=d', 1)


@pytest.mark.parametrize(
  ('moved', 'message'),
  [
    ('{0}/music', 'must be OLD=NEW'),
    ('={0}/other', 'must be OLD=NEW'),
    ('{0}/music={0}/missing', 'missing is not a folder'),
    ('{0}/other={0}/music', 'other: .* no tracks of it; .*folders: .*music'),
    ('{0}/music={0}/other', 'none of the 1 track of .*/music is in .*/other'),
  ],
)
def test_an_invalid_moved_is_rejected_and_changes_nothing(
  moved, message, index, tmp_path
):
  music = _music(index, tmp_path / 'music', '1.mp3')
  (tmp_path / 'other').mkdir()
  with pytest.raises(ConfigError, match=message):
    roots.rename(index, moved.format(tmp_path))
  assert _paths(index, music) == ['1.mp3']


def test_undo_finds_tagged_files_after_their_folder_was_moved(index, tmp_path):
  music = tmp_path / 'music'
  put(index, write_tone(music / '1.flac'), music)
  journal = TagJournal(index.path)
  assert tag(index, journal, Options(0.5, apply=True)).tagged == 1
  music.rename(tmp_path / 'audio')
  roots.rename(index, f'{music}={tmp_path}/audio')
  assert undo(index, journal, Journal(index.path), True).restored == 1
