"""Finding audio files: every file once, and nothing that is not the user's."""

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
  """Returns relative paths in the order found, and what was left out."""
  skipped = Skipped()
  paths = list(audio_files(str(folder), skipped=skipped))
  return [os.path.relpath(path, folder) for path in paths], dict(skipped)


def test_files_come_in_order_and_extensions_in_capitals_count(tmp_path):
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
def test_hidden_and_trash_folders_are_left_out(tmp_path, name):
  _touch(tmp_path / 'jazz' / name / 'sub' / 'deleted.mp3')
  _touch(tmp_path / 'jazz' / 'kept.mp3')
  assert _found(tmp_path) == (
    ['jazz/kept.mp3'],
    {'hidden or trash folders': 1},
  )


@pytest.mark.parametrize(
  'name', ['$uicideboy$', '#1 hits', '@home', '_misc', 'recycle', 'x.Trash']
)
def test_folders_of_similar_names_are_music(tmp_path, name):
  _touch(tmp_path / name / 'a.mp3')
  assert _found(tmp_path) == ([f'{name}/a.mp3'], {})


def test_hidden_files_are_left_out(tmp_path):
  _touch(tmp_path / '._a.mp3')
  _touch(tmp_path / 'a.mp3')
  assert _found(tmp_path) == (['a.mp3'], {'hidden files': 1})


def test_a_hidden_folder_that_is_named_is_read(tmp_path):
  _touch(tmp_path / '.music' / 'sub' / 'a.mp3')
  (tmp_path / '.music' / 'again').symlink_to(tmp_path / '.music' / 'sub')
  found, skipped = _found(tmp_path / '.music')
  assert found == ['sub/a.mp3']
  assert skipped == {'links to folders that are read anyway': 1}


def test_a_link_to_a_folder_is_followed(tmp_path):
  _touch(tmp_path / 'disk' / 'album' / 'a.mp3')
  _touch(tmp_path / 'music' / 'z.mp3')
  (tmp_path / 'music' / 'nas').symlink_to(tmp_path / 'disk')
  assert _found(tmp_path / 'music') == (['z.mp3', 'nas/album/a.mp3'], {})


def test_the_folder_itself_may_be_a_link(tmp_path):
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


def test_two_links_to_one_folder_are_followed_once(tmp_path):
  _touch(tmp_path / 'disk' / 'a.mp3')
  (tmp_path / 'music').mkdir()
  for name in ('one', 'two'):
    (tmp_path / 'music' / name).symlink_to(tmp_path / 'disk')
  assert _found(tmp_path / 'music') == (
    ['one/a.mp3'],
    {'links to folders that are read anyway': 1},
  )


@pytest.mark.parametrize('names', [('a', 'b'), ('b', 'a')])
def test_a_folder_and_one_inside_it_are_read_once(tmp_path, names):
  """Whichever of the two links comes first."""
  _touch(tmp_path / 'disk' / 'in' / 'x.mp3')
  _touch(tmp_path / 'disk' / 'y.mp3')
  (tmp_path / 'music').mkdir()
  (tmp_path / 'music' / names[0]).symlink_to(tmp_path / 'disk')
  (tmp_path / 'music' / names[1]).symlink_to(tmp_path / 'disk' / 'in')
  found, _ = _found(tmp_path / 'music')
  assert sorted(map(os.path.basename, found)) == ['x.mp3', 'y.mp3']


@pytest.mark.parametrize('target', ['..', '../..', '.', '/'])
def test_a_link_up_does_not_go_round_in_circles(tmp_path, target):
  _touch(tmp_path / 'outside.mp3')
  _touch(tmp_path / 'music' / 'jazz' / 'a.mp3')
  (tmp_path / 'music' / 'jazz' / 'up').symlink_to(target)
  found, skipped = _found(tmp_path / 'music')
  assert found == ['jazz/a.mp3'] and sum(skipped.values()) == 1


def test_a_link_up_inside_a_linked_folder_is_not_followed(tmp_path):
  _touch(tmp_path / 'disk' / 'jazz' / 'a.mp3')
  _touch(tmp_path / 'disk' / 'private' / 'b.mp3')
  (tmp_path / 'disk' / 'jazz' / 'up').symlink_to('..')
  (tmp_path / 'music').mkdir()
  (tmp_path / 'music' / 'jazz').symlink_to(tmp_path / 'disk' / 'jazz')
  assert _found(tmp_path / 'music') == (
    ['jazz/a.mp3'],
    {'links to folders that they lie in': 1},
  )


def test_links_that_lead_to_each_other_end(tmp_path):
  for name, other in (('a', 'b'), ('b', 'a')):
    _touch(tmp_path / name / f'{name}.mp3')
    (tmp_path / name / 'other').symlink_to(tmp_path / other)
  found, skipped = _found(tmp_path)
  assert found == ['a/a.mp3', 'b/b.mp3']
  assert skipped == {'links to folders that are read anyway': 2}


def test_a_linked_folder_that_only_a_hidden_folder_has_is_read(tmp_path):
  _touch(tmp_path / '.store' / 'jazz' / 'a.mp3')
  (tmp_path / 'jazz').symlink_to('.store/jazz')
  (tmp_path / 'again').symlink_to('.store/jazz')
  found, skipped = _found(tmp_path)
  assert found == ['again/a.mp3']
  assert skipped['links to folders that are read anyway'] == 1


def test_links_to_files_that_are_read_anyway_are_left_out(tmp_path):
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


def test_links_into_a_store_of_digests_are_files(tmp_path):
  """As git-annex keeps them: the file itself is hidden, or has no extension."""
  for name in ('.git/annex/objects/1.mp3', 'objects/2'):
    _touch(tmp_path / name)
  (tmp_path / 'a.mp3').symlink_to('.git/annex/objects/1.mp3')
  (tmp_path / 'b.mp3').symlink_to('objects/2')
  assert _found(tmp_path)[0] == ['a.mp3', 'b.mp3']


def test_dangling_links_are_named_once_each(tmp_path):
  """Whoever opens them says that there is no such file."""
  for name in ('a.mp3', 'b.mp3'):
    (tmp_path / name).symlink_to('gone.mp3')
  (tmp_path / 'folder').symlink_to('gone')
  (tmp_path / 'loop.mp3').symlink_to('loop.mp3')
  assert _found(tmp_path)[0] == ['a.mp3', 'b.mp3', 'loop.mp3']


def test_an_unreadable_folder_is_reported_and_the_rest_is_read(tmp_path):
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
  assert code == 0, process.said
  assert process.said.splitlines() == [
    f'cannot read {tmp_path}/locked',
    f'{tmp_path}/a/a.mp3',
    f'{tmp_path}/a/a.mp3',
  ]


def test_a_folder_that_is_not_there_is_reported(tmp_path):
  errors = []
  assert not list(audio_files(str(tmp_path / 'none'), errors.append))
  assert errors[0].filename == str(tmp_path / 'none')


@pytest.mark.parametrize(
  'name',
  [b'caf\xe9.mp3', 'caf\u00e9.mp3'.encode(), b'new\nline.mp3', b'a  b.mp3'],
)
def test_names_of_any_bytes_are_found(tmp_path, name):
  with open(os.fsencode(tmp_path) + b'/' + name, 'wb'):
    pass
  (found,) = audio_files(str(tmp_path))
  assert os.fsencode(found).endswith(name)


def test_what_is_inside_a_folder():
  assert is_inside('/a/b', '/a') and is_inside('/a', '/a')
  assert is_inside('/a', '/')
  assert not is_inside('/ab', '/a') and not is_inside('/a', '/a/b')


# --- the words of a command


def test_folders_are_searched_and_files_are_taken_as_they_are(tmp_path, capsys):
  inside = _touch(tmp_path / 'music' / 'a.mp3')
  _touch(tmp_path / 'music' / 'b.txt')
  named = _touch(tmp_path / 'music' / 'song.xyz')
  found = find_files([str(named), str(tmp_path / 'music'), 'gone.mp3'])
  assert found == [str(named), str(inside), 'gone.mp3']
  said = capsys.readouterr().err
  assert said == (
    f'{tmp_path}/music: skipped: 2 files that are not audio by name\n'
  )


def test_a_folder_without_audio_is_refused_with_what_it_has(tmp_path):
  _touch(tmp_path / 'notes.txt')
  with pytest.raises(
    DataError, match='no audio files in it .*1 files that are'
  ):
    find_files([str(tmp_path)])
  assert '.flac' in no_audio('/music', Skipped())


def _listed(text):
  return list(listed_files(io.BytesIO(text)))


def test_a_list_may_be_a_playlist_of_windows():
  text = (
    b'\xef\xbb\xbf#EXTM3U\r\n#EXTINF:123,Ann - One\r\nC 1/a b.mp3\r\n\r\n'
    b'd.mp3 \r\n'
  )
  assert _listed(text) == ['C 1/a b.mp3', 'd.mp3 ']


def test_a_byte_order_mark_is_no_part_of_the_first_path():
  assert _listed(b'\xef\xbb\xbfa.mp3\nb.mp3') == ['a.mp3', 'b.mp3']


def test_a_path_may_begin_with_a_hash(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  _touch(tmp_path / '#1 hits.mp3')
  assert _listed(b'#1 hits.mp3\n#2 hits.mp3\n') == ['#1 hits.mp3']


def test_listed_names_keep_their_bytes():
  name = unicodedata.normalize('NFD', 'é.mp3').encode()
  (found,) = _listed(name + b'\n')
  assert os.fsencode(found) == name
  assert os.fsencode(_listed(b'caf\xe9.mp3\n')[0]) == b'caf\xe9.mp3'
