import csv
import pathlib
import shutil

import numpy as np
import pytest
import soundfile

from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.published import facts
from mgc_jax.datasets.sources import list_tracks
from mgc_jax.datasets.splits import make_splits
from mgc_jax.system.errors import ConfigError, DataError


def _write(path, seed):
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  # Some are called .mp3; only the content of a file matters.
  soundfile.write(path, rng.normal(0, 0.1, 8000 * 3), 8000, format='WAV')


def _rows(name):
  return facts.read_facts(facts.manifest_path(name))


@pytest.fixture
def gtzan_config(tiny_config, tmp_path):
  tiny_config.data.source = 'gtzan'
  tiny_config.data.root = str(tmp_path / 'gtzan')
  tiny_config.data.prepared_dir = str(tmp_path / 'prepared')
  tiny_config.data.allow_missing = True
  for number in range(30):
    for genre in ('blues', 'jazz'):
      name = f'{genre}/{genre}.{number:05d}.wav'
      _write(tmp_path / 'gtzan' / 'genres' / name, (number, len(genre)))
  return tiny_config


def _write_fma(root, rows):
  with_names = [
    ('', 'album', 'artist', 'artist', 'set', 'set', *['track'] * 3),
    ('', 'title', 'id', 'name', 'split', 'subset', 'genre_top', 'title')
    + ('duration',),
    ('track_id', *[''] * 8),
  ]
  (root / 'fma_metadata').mkdir(parents=True)
  with (root / 'fma_metadata' / 'tracks.csv').open('w', newline='') as file:
    csv.writer(file).writerows([*with_names, *((*row, 211) for row in rows)])


def test_gtzan_lists_the_filtered_tracks_even_if_missing(gtzan_config):
  tracks = list_tracks(gtzan_config.data)
  assert len(tracks) == 930 and {t.source for t in tracks} == {'gtzan'}
  present = [t for t in tracks if not t.problem]
  assert {t.genre for t in present} == {'blues', 'jazz'}
  assert all(t.split for t in tracks)
  assert {t.problem for t in tracks} == {'', 'missing: not in this copy'}
  gtzan_config.data.protocol = 'track'
  assert len(list_tracks(gtzan_config.data)) == 999


def test_gtzan_is_read_from_its_archive(gtzan_config, tmp_path):
  expected = list_tracks(gtzan_config.data)
  archive = shutil.make_archive(
    str(tmp_path / 'genres'), 'gztar', tmp_path / 'gtzan'
  )
  gtzan_config.data.root = archive
  found = list_tracks(gtzan_config.data)
  assert [t.track_id for t in found] == [t.track_id for t in expected]
  assert sum(not t.problem for t in found) == sum(
    not t.problem for t in expected
  )


def test_folder_that_is_not_gtzan_raises(tiny_config, tmp_path):
  tiny_config.data.source = 'gtzan'
  with pytest.raises(ConfigError, match='config.data.root: not set'):
    list_tracks(tiny_config.data)
  tiny_config.data.root = str(tmp_path)
  with pytest.raises(DataError, match='not GTZAN; expected blues/blues.00000'):
    list_tracks(tiny_config.data)


def test_real_gtzan_audio_is_found(data_dir, tiny_config):
  tiny_config.data.source = 'gtzan'
  tiny_config.data.root = str(data_dir / 'gtzan_audio')
  tracks = list_tracks(tiny_config.data)
  assert 30 <= sum(not t.problem for t in tracks) <= 38


def test_fma_follows_its_table(tiny_config, tmp_path):
  rows = [
    (2, 'A', 7, 'Ann', 'training', 'small', 'Rock', 'one'),
    (1486, 'A', 7, 'Ann', 'training', 'small', 'Rock', 'silent'),
    (3000, 'B', 8, 'Ann', 'test', 'medium', 'Folk', 'two'),
    (4, 'B', 8, 'Ann', 'validation', 'medium', '', 'without genre'),
    (5, 'B', 8, 'Ann', 'validation', 'large', 'Jazz', 'large'),
  ]
  _write_fma(tmp_path, rows)
  _write(tmp_path / 'fma_medium' / '003' / '003000.mp3', 0)
  data = tiny_config.data
  data.source, data.root, data.subset = 'fma', str(tmp_path), 'medium'
  tracks = {t.track_id: t for t in list_tracks(data)}
  assert list(tracks) == ['fma/2', 'fma/1486', 'fma/3000']
  assert tracks['fma/2'].problem.startswith('missing')
  assert tracks['fma/1486'].problem == 'known to be silent'
  last = tracks['fma/3000']
  assert (last.problem, last.split, last.title) == ('', 'test', 'two')
  assert last.path == str(tmp_path / 'fma_medium' / '003' / '003000.mp3')
  assert tracks['fma/2'].artist != last.artist  # only the name is the same
  data.subset = 'small'
  assert len(list_tracks(data)) == 2
  assert tracks['fma/2'].duration_s == 30
  sums = f'{"ab" * 20}  003/003000.mp3\n'
  (tmp_path / 'fma_medium' / 'checksums').write_text(sums)
  data.subset = 'full'
  tracks = {t.track_id: t for t in list_tracks(data)}
  assert 'fma/5' in tracks and tracks['fma/2'].duration_s == 211
  data.subset = 'medium'
  (found,) = [t for t in list_tracks(data) if t.track_id == 'fma/3000']
  assert found.digest == 'sha1:' + 'ab' * 20


@pytest.mark.parametrize(
  'text', ['', 'a,b\n', 'track_id,genre_top\n1,2\n3,4\n', '"\n', '\n\n\n']
)
def test_table_that_is_not_of_fma_raises(text, tiny_config, tmp_path):
  data = tiny_config.data
  data.source, data.root = 'fma', str(tmp_path)
  with pytest.raises(DataError, match='fetch fma_metadata --to=DIR'):
    list_tracks(data)
  (tmp_path / 'tracks.csv').write_text(text)
  with pytest.raises(DataError, match='not the tracks.csv of FMA'):
    list_tracks(data)


@pytest.fixture
def gtma_config(tiny_config, tmp_path):
  """Local copies without any tracks yet."""
  data = tiny_config.data
  data.source = 'gtma'
  data.gtzan_root, data.fma_root = str(tmp_path / 'g'), str(tmp_path / 'f')
  data.prepared_dir, data.allow_missing = str(tmp_path / 'prepared'), True
  (tmp_path / 'g' / 'blues').mkdir(parents=True)
  (tmp_path / 'f').mkdir()
  tiny_config.data.num_workers = 1
  return tiny_config


def _copy(config, track_id, seed):
  if track_id.startswith('gtzan/'):
    name = track_id.removeprefix('gtzan/')
    path = f'{config.data.gtzan_root}/{name.partition(".")[0]}/{name}.wav'
  else:
    number = int(track_id.removeprefix('fma/'))
    folder = f'{config.data.fma_root}/fma_medium/{number // 1000:03d}'
    path = f'{folder}/{number:06d}.mp3'
  _write(pathlib.Path(path), seed)


def test_gtma_has_both_sources_and_its_published_splits(gtma_config):
  chosen = {}
  for row in _rows('gtma_artist'):
    key = row['genre'], row['source'], row['split']
    if row['genre'] in ('jazz', 'folk') and key not in chosen:
      chosen[key] = row['track_id']
      _copy(gtma_config, row['track_id'], len(chosen))
  tracks = list_tracks(gtma_config.data)
  assert len(tracks) == 2500
  found = {t.track_id: t.split for t in tracks if not t.problem}
  assert found == {track: key[2] for key, track in chosen.items()}


def test_baseline_list_has_windows_and_repeated_tracks(gtma_config):
  gtma_config.data.protocol = 'window'
  tracks = list_tracks(gtma_config.data)
  assert len(tracks) == 2500
  paths = [t.path for t in tracks]
  assert len(set(paths)) == 2250
  assert {len(t.window_splits) for t in tracks} == {9}


def test_published_splits_are_used(gtzan_config):
  config = gtzan_config
  tracks = list_tracks(config.data)
  config.data.num_workers = 1
  with pytest.raises(DataError, match='no track of classical'):
    config.data.allow_missing = False
    prepare(config)
  config.data.allow_missing = True
  prepared = prepare(config)
  splits = make_splits(prepared, config)
  assert splits.protocol == 'artist'
  wanted = {t.track_id: t.split for t in tracks}
  for split, examples in splits.examples.items():
    for track in prepared.index.track_id[examples.rows]:
      assert wanted[track] == split


def test_baseline_list_requires_the_baseline_windows(gtma_config):
  rows = _rows('gtma_window')
  for i, track_id in enumerate(dict.fromkeys(row['track_id'] for row in rows)):
    if i < 12:
      _copy(gtma_config, track_id, i)
  gtma_config.data.protocol = 'window'
  gtma_config.data.allow_missing = True
  prepared = prepare(gtma_config)
  with pytest.raises(
    ConfigError, match='published list has 9; use the windows of configs/base'
  ):
    make_splits(prepared, gtma_config)


def test_folds_of_a_list_without_artists_raise(gtma_config):
  for i, row in enumerate(_rows('gtma_artist')[:6]):
    _copy(gtma_config, row['track_id'], i)
  gtma_config.data.allow_missing = True
  gtma_config.data.num_folds = 2
  gtma_config.data.protocol = 'artist'
  prepared = prepare(gtma_config)
  with pytest.raises(ConfigError, match='num_folds=2: .* lacks the artists'):
    make_splits(prepared, gtma_config)
