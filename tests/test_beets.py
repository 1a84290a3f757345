"""The plugin for beets, in a library of beets, with real commands."""

import os
import subprocess
import sys
import time

import mutagen
import pytest
import yaml

import mgc_jax
from mgc_jax.models import bundle as bundles
from tests.conftest import write_tone
from tests.processes import environment

pytestmark = pytest.mark.slow  # needs an extra

SONGS = ('one/a.flac', 'one/b.mp3', 'two/c.ogg')


class Beets:
  """A library of beets in a folder of its own."""

  def __init__(self, folder, model):
    self.folder = folder
    self.settings = {
      'directory': str(folder / 'library'),
      'library': str(folder / 'library.db'),
      'plugins': ['mgc', 'fuzzy', 'smartplaylist'],
      'import': {'autotag': False, 'copy': True},
      'mgc': {'model': str(model), 'min_probability': 0.0, 'similar': 2},
    }

  def set(self, section, **values):
    self.settings.setdefault(section, {}).update(values)

  def __call__(self, *words, code=0):
    """Runs a command; returns what it prints."""
    config = self.folder / 'config.yaml'
    config.write_text(yaml.safe_dump(self.settings))
    done = subprocess.run(
      [sys.executable, '-m', 'beets', *map(str, words)],
      capture_output=True,
      text=True,
      cwd=self.folder,
      env=environment(BEETSDIR=self.folder),
    )
    assert done.returncode == code, done.stderr
    assert 'Traceback' not in done.stderr
    return done.stdout + done.stderr

  def items(self):
    """Returns the songs by title."""
    from beets.library import Library

    library = Library(self.settings['library'], self.settings['directory'])
    found = {item.title: item for item in library.items()}
    library._close()
    return found


@pytest.fixture
def model(bundle, tmp_path):
  """A model of random weights."""
  bundles.save(bundle, tmp_path / 'model')
  return tmp_path / 'model'


@pytest.fixture
def beet(tmp_path, model):
  pytest.importorskip('beets')
  (tmp_path / 'beets').mkdir()
  return Beets(tmp_path / 'beets', model)


@pytest.fixture
def songs(tmp_path):
  """A folder of three songs; the last has a genre."""
  for i, name in enumerate(SONGS):
    path = tmp_path / 'songs' / name
    write_tone(path, seconds=4.0, rate_hz=24000, frequency_hz=300.0 + 90 * i)
    _tag(path, title=path.stem, artist='Ann', album=path.parent.name)
  _tag(tmp_path / 'songs' / SONGS[2], genre='Polka')
  return tmp_path / 'songs'


def _tag(path, **values):
  file = mutagen.File(path, easy=True)
  if file.tags is None:
    file.add_tags()
  file.tags.update({key: [value] for key, value in values.items()})
  file.save()


def _genres(items):
  """Returns the genres in the files of songs, by title."""
  return {
    title: mutagen.File(os.fsdecode(item.path), easy=True).get('genre')
    for title, item in items.items()
  }


def test_import_dry_run_and_force(beet, songs, model):
  # Imported with the plugin, songs without a genre get one.
  beet('import', '-q', songs)
  items = beet.items()
  expected = {
    title: mgc_jax.load(model).predict(os.fsdecode(item.path))
    for title, item in items.items()
  }
  assert {x: item.mgc_genre for x, item in items.items()} == {
    title: one.genre for title, one in expected.items()
  }
  for title, one in expected.items():
    assert float(items[title].mgc_probability) == pytest.approx(
      one.probability, abs=1e-3
    )
  a, b = expected['a'].genre, expected['b'].genre
  # If it changes nothing else, beets leaves the tags in files to `beet write`.
  assert _genres(items) == {'a': None, 'b': None, 'c': ['Polka']}
  beet('write')
  assert _genres(items) == {'a': [a], 'b': [b], 'c': ['Polka']}
  assert [items[x].genres for x in 'abc'] == [[a], [b], ['Polka']]
  assert items['a'].get_album().genres and items['c'].get_album().genres

  # All are known, so nothing is classified.
  assert beet('mgc') == ''

  # A dry run shows what --force does, and changes nothing.
  beet.set('mgc', map={expected['c'].genre: 'Odd Genre'})
  before = (beet.folder / 'library.db').read_bytes()
  output = beet('mgc', '--pretend', '--force', 'title:c')
  assert f'c: Odd Genre ({expected["c"].probability:.0%})' in output
  assert (beet.folder / 'library.db').read_bytes() == before
  assert _genres(beet.items()) == _genres(items)

  # By force it is written into the library, the album and the file.
  beet('mgc', '--force', 'title:c')
  items = beet.items()
  assert _genres(items)['c'] == items['c'].genres == ['Odd Genre']
  assert items['c'].get_album().genres == ['Odd Genre']

  # Another plugin is found beside this one; a field is shown; and so are
  # similar songs, which a playlist has.
  assert beet('ls', '-f', '$mgc_genre $mgc_embedding', '~title') == ''
  assert beet('ls', '-f', '$title $mgc_embedding', 'title:b') == 'b 7 numbers\n'
  assert beet('ls', '-f', '$title', 'mgc_like:title:a') == 'b\nc\n'
  assert beet('ls', '-f', '$title', 'mgc_like:title:a', 'album:two') == 'c\n'
  assert beet('ls', 'mgc_like:title:nothing') == ''
  playlist = {'name': 'like.m3u', 'query': 'mgc_like:title:c'}
  lists = beet.folder / 'lists'
  beet.set('smartplaylist', playlist_dir=str(lists), playlists=[playlist])
  beet('splupdate')
  paths = (lists / 'like.m3u').read_text().split('\n')
  assert sorted(map(os.path.basename, filter(None, paths))) == sorted(
    os.path.basename(os.fsdecode(items[x].path)) for x in 'ab'
  )


def test_uncertain_songs_and_broken_files_get_no_genre(beet, songs):
  beet.set('mgc', auto=False, min_probability=0.99)
  beet('import', '-q', songs)
  items = beet.items()
  assert not items['a'].get('mgc_genre')
  with open(items['b'].path, 'wb') as file:
    file.write(b'no sound')
  output = beet('mgc')
  assert 'genre tag not changed' in output and 'b.mp3: ' in output
  items = beet.items()
  assert items['a'].mgc_genre and not items['a'].genres
  assert not items['b'].get('mgc_genre')
  assert _genres({'a': items['a']}) == {'a': None}
  assert items['c'].genres == ['Polka']


def test_wrong_settings_are_one_message(beet, songs):
  beet.set('mgc', auto=False)
  beet('import', '-q', songs)
  beet.set('mgc', map={'nonsense': 'x'})
  output = beet('mgc', code=1)
  assert 'mgc.map: ' in output and 'nonsense is not a genre' in output
  beet.set('mgc', model='no such model')
  assert 'no such model; must be one of tags' in beet('mgc', code=1)


def test_a_library_of_a_thousand_songs(beet, songs):
  from beets.library import Item, Library

  folder = beet.folder / 'library'
  folder.mkdir()
  library = Library(beet.settings['library'], str(folder))
  with library.transaction():
    for i in range(1000):
      path = folder / f'{i}.flac'
      os.link(songs / SONGS[0], path)
      item = Item.from_path(os.fsencode(path))
      item.title = f'{i:03d}'
      library.add(item)
  library._close()
  start_s = time.monotonic()
  beet('mgc')
  print(f'1,000 songs: {time.monotonic() - start_s:.1f} s')
  found = beet.items().values()
  assert len(found) == 1000
  assert all(item.mgc_genre for item in found)
  start_s = time.monotonic()
  assert len(beet('ls', 'mgc_like:title:000').splitlines()) == 2
  print(f'similar songs: {time.monotonic() - start_s:.1f} s')
