"""A person's library: 123 files, of real music and what lies beside it.

It is built from MP3s of the shared data with ffmpeg.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time

import pytest

from mgc_jax.audio import tags as audio_tags
from mgc_jax.collection.index import Index
from tests.commands import run_command

pytestmark = pytest.mark.slow

SONGS_PER_ALBUM = 15
SONG_S = 1.9
CODECS = {
  'mp3': ['-c:a', 'libmp3lame'],
  'm4a': ['-c:a', 'aac'],
  'flac': ['-c:a', 'flac'],
  'opus': ['-c:a', 'libopus'],
  'ogg': ['-c:a', 'libvorbis', '-q:a', '4'],
  'wav': ['-c:a', 'pcm_s16le'],
  'aiff': ['-c:a', 'pcm_s16be', '-write_id3v2', '1'],
}
BROKEN = {
  'notes.mp3': b'no music, but a text with the name of a song\n' * 9,
  'empty.flac': b'',
  'zeros.m4a': bytes(5000),
}


@pytest.fixture(scope='module')
def library(data_dir, tmp_path_factory):
  """`Music/<format>/<n>.<format>`, and covers, playlists and broken files."""
  if not shutil.which('ffmpeg'):
    pytest.skip('no ffmpeg')
  music = tmp_path_factory.mktemp('library') / 'Music'
  sources = sorted((data_dir / 'emotify_mp3').glob('*/*.mp3'))
  step = len(sources) // len(CODECS)
  for i, (ending, codec) in enumerate(CODECS.items()):
    source = sources[i * step]
    album = music / f'An album in {ending}'
    album.mkdir(parents=True)
    # All from one track, so that most albums have a single genre.
    for j in range(SONGS_PER_ALBUM):
      tags = ['-metadata', f'title=Söng {j}', '-metadata', 'artist=Zoë & Co.']
      part = ['-ss', str(j * SONG_S), '-t', str(SONG_S), '-i', source]
      path = album / f'{j} söng.{ending}'
      command = ['ffmpeg', '-v', 'error', *part, '-vn', *tags, *codec, path]
      subprocess.run(command, check=True)
    (album / 'cover.jpg').write_bytes(b'\xff\xd8\xff picture')
    names = [path.name for path in sorted(album.glob(f'*.{ending}'))]
    (album / 'all.m3u').write_text('\n'.join(names))
  (music / 'broken').mkdir()
  for name, content in BROKEN.items():
    (music / 'broken' / name).write_bytes(content)
  whole = (music / 'An album in mp3' / '0 söng.mp3').read_bytes()
  (music / 'broken' / 'half.mp3').write_bytes(whole[: len(whole) // 2])
  assert len(_contents(music)) == 123
  return music


@pytest.fixture(scope='module')
def index(library):
  """The index of the library."""
  path = library.parent / 'index'
  done = _collection(path, 'index', library)
  num_songs = len(CODECS) * SONGS_PER_ALBUM + 1  # half a song is enough
  expected = (
    f'{num_songs} indexed, 0 unchanged, 0 removed, {len(BROKEN)} failed'
  )
  assert expected in done.stdout
  for name in BROKEN:
    assert f'{name}: ' in done.stderr
  return path


def _collection(index, *words, code=0):
  done = run_command('mgc_jax.collection', f'--index={index}', *words)
  assert done.returncode == code, done.stderr
  assert 'Traceback' not in done.stderr
  return done


def _contents(folder):
  """The digest of each file, by its path in a folder."""
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.rglob('*')
    if path.is_file()
  }


def test_a_second_index_reads_nothing(index, library):
  start_s = time.monotonic()
  done = _collection(index, 'index', library)
  print(f'second index: {time.monotonic() - start_s:.2f} s')
  assert (
    f'0 indexed, {len(CODECS) * SONGS_PER_ALBUM + 1} unchanged' in done.stdout
  )
  assert f'({len(BROKEN)} of them before; --retry reads them' in done.stdout
  assert not any(name in done.stderr for name in BROKEN)


def test_every_song_gets_an_answer_and_every_broken_file_a_reason(library):
  done = run_command('mgc_jax.predict', library, '--format=json', '--top=all')
  assert done.returncode == 1
  answers = [json.loads(line) for line in done.stdout.splitlines()]
  songs = {os.path.relpath(x['path'], library): x for x in answers}
  for ending in CODECS:
    for j in range(SONGS_PER_ALBUM):
      answer = songs[f'An album in {ending}/{j} söng.{ending}']
      assert sum(answer['probabilities'].values()) == pytest.approx(1, abs=0.01)
      assert not answer['warning']
  for name in BROKEN:
    assert f'{name}: ' in done.stderr


def test_tags_of_every_format_are_written_and_restored(index, library):
  before = _contents(library)
  with Index(index) as opened:
    paths = {entry.path: entry.genre for entry in opened.entries()}
  none = {path: audio_tags.genres(path) for path in paths}
  _collection(index, 'tag', '--min_probability=0', '--replace', '--apply')
  for path, genre in paths.items():
    if genre != 'not music':
      assert audio_tags.genres(path) == [genre], path
      artist = audio_tags.read(path)[0]
      assert artist == 'Zoë & Co.', path
  _collection(index, 'undo', '--apply')
  assert {path: audio_tags.genres(path) for path in paths} == none
  assert _contents(library).keys() == before.keys()
  # Nothing has to be classified again.
  done = _collection(index, 'index', library)
  assert '0 indexed' in done.stdout


def test_a_playlist_lists_files_that_exist(index, library):
  with Index(index) as opened:
    genre = next(iter(opened.entries())).genre
  to = library / 'some.m3u8'
  _collection(
    index, 'playlist', genre.upper(), '--min_probability=0', f'--to={to}'
  )
  lines = [x for x in to.read_text().splitlines() if not x.startswith('#')]
  assert lines and not any(map(os.path.isabs, lines))
  assert all((library / line).is_file() for line in lines)
  to.unlink()
  song = library / 'An album in flac' / '0 söng.flac'
  done = _collection(index, 'similar', song, '--format=json', '-k', '3')
  assert len(done.stdout.splitlines()) == 3


def test_albums_move_with_their_covers_and_come_back(index, library):
  before = _contents(library)
  to = library.parent / 'sorted'
  words = [f'--to={to}', '--apply']
  _collection(
    index,
    'organise',
    *words,
    '--move',
    '--by=genre,artist',
    '--with=cover,m3u',
    '--min_probability=0',
  )
  moved = _contents(to)
  with Index(index) as opened:
    entries = list(opened.entries())
  assert all(os.path.isfile(entry.path) for entry in entries)
  songs = {path for path in moved if not path.endswith(('.jpg', '.m3u'))}
  assert len(songs) == len(entries)
  assert all('/Zoë & Co/' in path or 'broken' in path for path in songs)
  covers = [path for path in moved if path.endswith('cover.jpg')]
  assert covers
  for cover in covers:
    album = os.path.dirname(cover)
    found = [path for path in songs if os.path.dirname(path) == album]
    assert len(found) == SONGS_PER_ALBUM
  _collection(index, 'undo', *words)
  assert _contents(library) == before
