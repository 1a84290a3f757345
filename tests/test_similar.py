"""Finding similar songs, with each known artist at most once."""

import numpy as np
import pytest

from mgc_jax.collection.index import Index
from mgc_jax.collection.similar import find_similar
from mgc_jax.system.errors import DataError
from tests.indexed_music import put

ARTISTS = (
  'Beyonce\u0301',
  'BEYONC\xc9 ',
  'Various Artists',
  'various artists',
  'Ann',
  'ann',
  '',
  '<unknown>',
)


def test_diverse_returns_each_known_artist_once(tmp_path):
  query = tmp_path / 'query.mp3'
  query.write_text('query')
  with Index(tmp_path / 'index', create=True) as index:
    index.set_model('crnn', '0' * 64, ('jazz', 'rock'))
    put(index, query, tmp_path, artist='Bob')
    for i, artist in enumerate(ARTISTS):
      path = tmp_path / f'{i}.mp3'
      path.write_text(f'song {i}')
      put(index, path, tmp_path, artist=artist)
      vector = np.array([1.0, 0.1 * (i + 1), 0.0, 0.0])
      index.put(index.find(str(path)), np.ones(2), vector)
    index.put(index.find(str(query)), np.ones(2), np.eye(4)[0])
    every = find_similar(index, [str(query)], 10, diverse=False)
    found = find_similar(index, [str(query)], 10, diverse=True)
  assert [one.entry.artist for one in every] == list(ARTISTS)
  kept = [ARTISTS[i] for i in (0, 2, 3, 4, 6, 7)]
  assert [one.entry.artist for one in found] == kept


def test_an_index_without_a_model_is_reported_as_damaged(tmp_path):
  known, new = tmp_path / 'known.mp3', tmp_path / 'new.mp3'
  for path in (known, new):
    path.write_text('song')
  with Index(tmp_path / 'index', create=True) as index:
    put(index, known, tmp_path)
    with pytest.raises(DataError, match=r'index: damaged \(has tracks but no'):
      find_similar(index, [str(new)], 1, diverse=False)
