import os

import numpy as np
import pytest

from mgc_jax.collection import playlist
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from tests.commands import run_command

TRACKS = {
  'music/jazz/a.mp3': ('jazz', 0.9, [1.0, 0.0]),
  'music/jazz/b.mp3': ('jazz', 0.4, [0.0, 1.0]),
  'music/jazz/#1.mp3': ('jazz', 0.7, [1.0, 0.5]),
  'music/rock/c.mp3': ('rock', 0.8, [1.0, 0.2]),
  'other/d.mp3': ('Hip-Hop', 0.6, [0.1, 1.0]),
}


@pytest.fixture
def folder(tmp_path):
  """Files, and an index of them in two folders."""
  with Index(tmp_path / 'index', create=True) as index:
    index.set_model('crnn', '0' * 64, ('jazz', 'rock', 'Hip-Hop'))
    for name, (genre, probability, embedding) in TRACKS.items():
      path = tmp_path / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(name.encode())
      root, stat = tmp_path / name.split('/')[0], path.stat()
      facts = (str(path), str(root), stat.st_size, stat.st_mtime_ns, '', '')
      entry = Entry(*facts, '', 2.0, genre, probability)
      index.put(entry, np.ones(3), embedding)
  return tmp_path


def _run(folder, *words, code=0, cwd=None):
  done = run_command(
    'mgc_jax.collection',
    'playlist',
    *words,
    f'--index={folder / "index"}',
    cwd=cwd or folder,
  )
  assert done.returncode == code, done.stderr
  return done.stdout, done.stderr


def _paths(text):
  assert text.startswith('#EXTM3U\n')
  return [line for line in text.splitlines() if not line.startswith('#')]


def test_the_most_probable_tracks_of_all_genres_come_first(folder):
  output, _ = _run(folder, 'jazz', 'rock', 'jazz')
  assert _paths(output) == [
    str(folder / 'music' / name)
    for name in ('jazz/a.mp3', 'rock/c.mp3', 'jazz/#1.mp3')
  ]
  output, _ = _run(folder, 'jazz', '--min_probability=0')
  assert len(_paths(output)) == 3


@pytest.mark.parametrize('name', ['JAZZ', ' jazz '])
def test_a_genre_may_be_spelled_in_another_way(name, folder):
  assert len(_paths(_run(folder, name)[0])) == 2


def test_an_unknown_genre_is_reported(folder):
  _, error = _run(folder, 'jazz', 'polka', code=2)
  assert 'polka: not a genre of this index, which has jazz, rock, Hip' in error


@pytest.mark.parametrize(
  ('to', 'wanted'),
  [
    ('all.m3u8', ['music/jazz/a.mp3', 'music/jazz/#1.mp3']),
    ('music/x.m3u8', ['jazz/a.mp3', 'jazz/#1.mp3']),
    ('music/lists/x.m3u8', ['../jazz/a.mp3', '../jazz/#1.mp3']),
    ('music/jazz/x.m3u8', ['a.mp3', './#1.mp3']),
    ('other/x.m3u8', ['{}/music/jazz/a.mp3', '{}/music/jazz/#1.mp3']),
  ],
)
def test_paths_are_relative_in_and_above_the_music(to, wanted, folder):
  (folder / 'music' / 'lists').mkdir()
  output, _ = _run(folder, 'jazz', f'--to={to}')
  assert output == f'{to}: 2 tracks\n'
  paths = _paths((folder / to).read_text())
  assert paths == [path.format(folder) for path in wanted]
  for path in paths:
    assert os.path.exists(folder / os.path.dirname(to) / path)
  _run(folder, 'jazz', f'--to={to}', '--absolute')
  paths = _paths((folder / to).read_text())
  assert paths == [f'{folder}/music/jazz/{x}' for x in ('a.mp3', '#1.mp3')]


def test_a_folder_that_is_a_link_is_followed(folder):
  (folder / 'link').symlink_to(folder / 'music')
  _run(folder, 'jazz', '--to=link/x.m3u8')
  paths = _paths((folder / 'music' / 'x.m3u8').read_text())
  assert paths == ['jazz/a.mp3', 'jazz/#1.mp3']


def test_songs_like_others_are_the_nearest_first(folder):
  song = folder / 'music' / 'jazz' / 'a.mp3'
  output, _ = _run(folder, '--like', song, '-k', '3')
  assert [os.path.basename(path) for path in _paths(output)] == [
    'c.mp3',
    '#1.mp3',
    'd.mp3',
  ]
  output, _ = _run(folder, 'hip-hop', 'rock', '--like', song, '-k', '3')
  assert [os.path.basename(x) for x in _paths(output)] == ['c.mp3', 'd.mp3']


def test_a_playlist_that_cannot_be_written_is_reported(folder):
  _, error = _run(folder, 'jazz', f'--to={folder}/none/x.m3u8', code=1)
  assert 'x.m3u8: cannot be written' in error and 'Traceback' not in error


def test_a_path_with_a_line_break_has_no_lines(folder):
  with Index(folder / 'index') as index:
    (entry,) = index.entries('rock')
  broken = type(entry)(**{**vars(entry), 'path': '/a\nb.mp3'})
  (one, two) = playlist.lines([broken, entry])
  assert one == (broken, b'') and two[1].endswith(b'/rock/c.mp3\n')
