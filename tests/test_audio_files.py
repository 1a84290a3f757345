"""Finding audio files: each one once, without deleted or generated files."""

import io
import os
import sys
import unicodedata

import pytest

from mgc_jax.audio.files import (
  Skipped,
  audio_files,
  find_files,
  is_inside,
  listed_files,
  no_audio,
)
from mgc_jax.system.errors import DataError
from tests.processes import Process, unprivileged


def _touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b'')
  return path


def _found(folder):
  """Returns relative paths in the order found, and what was skipped."""
  skipped = Skipped()
  paths = list(audio_files(str(folder), skipped=skipped))
  return [os.path.relpath(path, folder) for path in paths], dict(skipped)


def test_files_are_sorted_and_extensions_may_be_upper_case(tmp_path):
  for name in ('b.MP3', 'a.flac', 'c/d.Opus', 'c/b e/x.M4A', 'c/cover.jpg'):
    _touch(tmp_path / name)
  found, skipped = _found(tmp_path)
  assert found == ['a.flac', 'b.MP3', 'c/d.Opus', 'c/b e/x.M4A']
  assert skipped == {'files that are not audio by name': 1}


@pytest.mark.parametrize(
  'name',
  [
    '.Trash-1000',
    '.stversions',
    '.AppleDouble',
    '@eaDir',
    '#recycle',
    '#RECYCLE',
    '$RECYCLE.BIN',
    '__MACOSX',
    'lost+found',
    'System Volume Information',
  ],
)
def test_hidden_and_trash_folders_are_skipped(tmp_path, name):
  _touch(tmp_path / 'jazz' / name / 'sub' / 'deleted.mp3')
  _touch(tmp_path / 'jazz' / 'kept.mp3')
  assert _found(tmp_path) == (
    ['jazz/kept.mp3'],
    {'hidden or trash folders': 1},
  )


@pytest.mark.parametrize(
  'name', ['$uicideboy$', '#1 hits', '@home', '_misc', 'recycle', 'x.Trash']
)
def test_folders_with_similar_names_are_walked(tmp_path, name):
  _touch(tmp_path / name / 'a.mp3')
  assert _found(tmp_path) == ([f'{name}/a.mp3'], {})


def test_hidden_files_are_skipped(tmp_path):
  _touch(tmp_path / '._a.mp3')
  _touch(tmp_path / 'a.mp3')
  assert _found(tmp_path) == (['a.mp3'], {'hidden files': 1})


def test_hidden_root_is_walked(tmp_path):
  _touch(tmp_path / '.music' / 'sub' / 'a.mp3')
  (tmp_path / '.music' / 'again').symlink_to(tmp_path / '.music' / 'sub')
  found, skipped = _found(tmp_path / '.music')
  assert found == ['sub/a.mp3']
  assert skipped == {'links to folders that are read anyway': 1}


def test_link_to_folder_is_followed(tmp_path):
  _touch(tmp_path / 'disk' / 'album' / 'a.mp3')
  _touch(tmp_path / 'music' / 'z.mp3')
  (tmp_path / 'music' / 'nas').symlink_to(tmp_path / 'disk')
  assert _found(tmp_path / 'music') == (['z.mp3', 'nas/album/a.mp3'], {})


def test_root_may_be_a_link(tmp_path):
  _touch(tmp_path / 'disk' / 'jazz' / 'a.mp3')
  (tmp_path / 'music').symlink_to(tmp_path / 'disk')
  assert _found(tmp_path / 'music') == (['jazz/a.mp3'], {})


def test_links_in_linked_folders_are_followed(tmp_path):
  _touch(tmp_path / 'second' / 'a.mp3')
  (tmp_path / 'first').mkdir()
  (tmp_path / 'first' / 'on').symlink_to(tmp_path / 'second')
  (tmp_path / 'music').mkdir()
  (tmp_path / 'music' / 'x').symlink_to(tmp_path / 'first')
  assert _found(tmp_path / 'music')[0] == ['x/on/a.mp3']


def test_two_links_to_the_same_folder_are_followed_once(tmp_path):
  _touch(tmp_path / 'disk' / 'a.mp3')
  (tmp_path / 'music').mkdir()
  for name in ('one', 'two'):
    (tmp_path / 'music' / name).symlink_to(tmp_path / 'disk')
  assert _found(tmp_path / 'music') == (
    ['one/a.mp3'],
    {'links to folders that are read anyway': 1},
  )


@pytest.mark.parametrize('names', [('a', 'b'), ('b', 'a')])
def test_links_to_a_folder_and_its_sub_folder_yield_files_once(tmp_path, names):
  """Regardless of which of the two links comes first."""
  _touch(tmp_path / 'disk' / 'in' / 'x.mp3')
  _touch(tmp_path / 'disk' / 'y.mp3')
  (tmp_path / 'music').mkdir()
  (tmp_path / 'music' / names[0]).symlink_to(tmp_path / 'disk')
  (tmp_path / 'music' / names[1]).symlink_to(tmp_path / 'disk' / 'in')
  found, _ = _found(tmp_path / 'music')
  assert sorted(map(os.path.basename, found)) == ['x.mp3', 'y.mp3']


@pytest.mark.parametrize('target', ['..', '../..', '.', '/'])
def test_link_to_parent_does_not_loop(tmp_path, target):
  _touch(tmp_path / 'outside.mp3')
  _touch(tmp_path / 'music' / 'jazz' / 'a.mp3')
  (tmp_path / 'music' / 'jazz' / 'up').symlink_to(target)
  found, skipped = _found(tmp_path / 'music')
  assert found == ['jazz/a.mp3'] and sum(skipped.values()) == 1


def test_link_to_parent_inside_linked_folder_is_not_followed(tmp_path):
  _touch(tmp_path / 'disk' / 'jazz' / 'a.mp3')
  _touch(tmp_path / 'disk' / 'private' / 'b.mp3')
  (tmp_path / 'disk' / 'jazz' / 'up').symlink_to('..')
  (tmp_path / 'music').mkdir()
  (tmp_path / 'music' / 'jazz').symlink_to(tmp_path / 'disk' / 'jazz')
  assert _found(tmp_path / 'music') == (
    ['jazz/a.mp3'],
    {'links to a parent folder': 1},
  )


def test_mutual_links_do_not_loop(tmp_path):
  for name, other in (('a', 'b'), ('b', 'a')):
    _touch(tmp_path / name / f'{name}.mp3')
    (tmp_path / name / 'other').symlink_to(tmp_path / other)
  found, skipped = _found(tmp_path)
  assert found == ['a/a.mp3', 'b/b.mp3']
  assert skipped == {'links to folders that are read anyway': 2}


def test_link_into_hidden_folder_is_followed_once(tmp_path):
  _touch(tmp_path / '.store' / 'jazz' / 'a.mp3')
  (tmp_path / 'jazz').symlink_to('.store/jazz')
  (tmp_path / 'again').symlink_to('.store/jazz')
  found, skipped = _found(tmp_path)
  assert found == ['again/a.mp3']
  assert skipped['links to folders that are read anyway'] == 1


def test_links_to_files_that_are_walked_are_skipped(tmp_path):
  _touch(tmp_path / 'jazz' / 'a.mp3')
  _touch(tmp_path / 'disk' / 'b.mp3')
  (tmp_path / 'best').mkdir()
  (tmp_path / 'best' / 'a.mp3').symlink_to('../jazz/a.mp3')
  for name in ('b.mp3', 'same.mp3'):
    (tmp_path / 'best' / name).symlink_to('../disk/b.mp3')
  (tmp_path / 'music').mkdir()
  for name in ('best', 'jazz'):
    (tmp_path / 'music' / name).symlink_to(tmp_path / name)
  assert _found(tmp_path / 'music') == (
    ['jazz/a.mp3', 'best/b.mp3'],
    {'links to files that are read anyway': 2},
  )


def test_git_annex_links_are_files(tmp_path):
  """Their targets are hidden or have no extension."""
  for name in ('.git/annex/objects/1.mp3', 'objects/2'):
    _touch(tmp_path / name)
  (tmp_path / 'a.mp3').symlink_to('.git/annex/objects/1.mp3')
  (tmp_path / 'b.mp3').symlink_to('objects/2')
  assert _found(tmp_path)[0] == ['a.mp3', 'b.mp3']


def test_dangling_links_are_yielded_once_each(tmp_path):
  """The code that opens them reports that there is no such file."""
  for name in ('a.mp3', 'b.mp3'):
    (tmp_path / name).symlink_to('gone.mp3')
  (tmp_path / 'folder').symlink_to('gone')
  (tmp_path / 'loop.mp3').symlink_to('loop.mp3')
  assert _found(tmp_path)[0] == ['a.mp3', 'b.mp3', 'loop.mp3']


def test_unreadable_folder_is_reported_and_the_others_are_walked(tmp_path):
  _touch(tmp_path / 'a' / 'a.mp3')
  _touch(tmp_path / 'locked' / 'b.mp3')
  (tmp_path / 'locked').chmod(0)
  code = (
    'import sys; from mgc_jax.audio.files import audio_files\n'
    'say = lambda error: print("cannot read", error.filename)\n'
    'print(*audio_files(sys.argv[1], say), sep="\\n")\n'
    'print(*audio_files(sys.argv[1]), sep="\\n")\n'
  )
  process = Process([*unprivileged(), sys.executable, '-c', code, tmp_path])
  code = process.wait()
  (tmp_path / 'locked').chmod(0o700)
  assert code == 0, process.output
  assert process.output.splitlines() == [
    f'cannot read {tmp_path}/locked',
    f'{tmp_path}/a/a.mp3',
    f'{tmp_path}/a/a.mp3',
  ]


def test_missing_folder_is_reported(tmp_path):
  errors = []
  assert not list(audio_files(str(tmp_path / 'none'), errors.append))
  assert errors[0].filename == str(tmp_path / 'none')


@pytest.mark.parametrize(
  'name',
  [b'caf\xe9.mp3', 'caf\u00e9.mp3'.encode(), b'new\nline.mp3', b'a  b.mp3'],
)
def test_names_may_contain_any_bytes(tmp_path, name):
  with open(os.fsencode(tmp_path) + b'/' + name, 'wb'):
    pass
  (found,) = audio_files(str(tmp_path))
  assert os.fsencode(found).endswith(name)


def test_is_inside_compares_whole_folder_names():
  assert is_inside('/a/b', '/a') and is_inside('/a', '/a')
  assert is_inside('/a', '/')
  assert not is_inside('/ab', '/a') and not is_inside('/a', '/a/b')


# --- the arguments of a command


def test_folders_are_searched_and_files_returned_unchanged(tmp_path, capsys):
  inside = _touch(tmp_path / 'music' / 'a.mp3')
  _touch(tmp_path / 'music' / 'b.txt')
  named = _touch(tmp_path / 'music' / 'song.xyz')
  found = find_files([str(named), str(tmp_path / 'music'), 'gone.mp3'])
  assert found == [str(named), str(inside), 'gone.mp3']
  assert capsys.readouterr().err == (
    f'{tmp_path}/music: skipped: 2 files that are not audio by name\n'
  )


def test_folder_without_audio_raises_with_skipped_counts(tmp_path):
  _touch(tmp_path / 'notes.txt')
  with pytest.raises(
    DataError, match='no audio files in it .*1 files that are'
  ):
    find_files([str(tmp_path)])
  assert '.flac' in no_audio('/music', Skipped())


def _listed(text):
  return list(listed_files(io.BytesIO(text)))


def test_list_may_be_a_windows_playlist():
  text = (
    b'\xef\xbb\xbf#EXTM3U\r\n#EXTINF:123,Ann - One\r\nC 1/a b.mp3\r\n\r\n'
    b'd.mp3 \r\n'
  )
  assert _listed(text) == ['C 1/a b.mp3', 'd.mp3 ']


def test_byte_order_mark_is_removed():
  assert _listed(b'\xef\xbb\xbfa.mp3\nb.mp3') == ['a.mp3', 'b.mp3']


def test_path_may_start_with_a_hash(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  _touch(tmp_path / '#1 hits.mp3')
  assert _listed(b'#1 hits.mp3\n#2 hits.mp3\n') == ['#1 hits.mp3']


def test_listed_names_keep_their_bytes():
  name = unicodedata.normalize('NFD', 'é.mp3').encode()
  (found,) = _listed(name + b'\n')
  assert os.fsencode(found) == name
  assert os.fsencode(_listed(b'caf\xe9.mp3\n')[0]) == b'caf\xe9.mp3'
