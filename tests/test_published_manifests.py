import collections
import csv
import subprocess
import sys

import pytest

from tests.processes import ROOT

FOLDER = ROOT / 'data' / 'manifests'
NAMES = (
  'gtma_artist',
  'gtma_track',
  'gtma_window',
  'gtzan_artist',
  'gtzan_track',
)


def _rows(name):
  with (FOLDER / f'{name}.csv').open(newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def _counts(rows, *columns):
  return collections.Counter(tuple(row[c] for c in columns) for row in rows)


def test_manifests_are_reproduced_byte_by_byte(data_dir, tmp_path):
  subprocess.run(
    [
      sys.executable,
      ROOT / 'data' / 'make_manifests.py',
      f'--facts={data_dir / "gtma"}',
      f'--to={tmp_path}',
    ],
    check=True,
    capture_output=True,
  )
  assert sorted(p.stem for p in tmp_path.iterdir()) == sorted(NAMES)
  for name in NAMES:
    made = (tmp_path / f'{name}.csv').read_bytes()
    assert made == (FOLDER / f'{name}.csv').read_bytes()


@pytest.mark.parametrize('name', [n for n in NAMES if n != 'gtma_window'])
def test_tracks_are_unique_and_named_after_their_source(name):
  rows = _rows(name)
  assert max(_counts(rows, 'track_id').values()) == 1
  for row in rows:
    assert row['track_id'].startswith(f'{row["source"]}/')
    assert row['split'] in ('train', 'valid', 'test', '')
    if row['source'] == 'gtzan':
      assert row['track_id'].startswith(f'gtzan/{row["genre"]}.')


@pytest.mark.parametrize(
  ('name', 'sizes'),
  [
    ('gtma_artist', {'train': 180, 'valid': 30, 'test': 40}),
    ('gtma_track', {'train': 200, 'valid': 25, 'test': 25}),
  ],
)
def test_gtma_genres_are_balanced_in_both_sources(name, sizes):
  rows = _rows(name)
  counts = _counts(rows, 'genre', 'split')
  genres = {row['genre'] for row in rows}
  assert len(genres) == 10
  for genre in genres:
    assert {split: counts[genre, split] for split in sizes} == sizes
  mixed = {row['genre'] for row in rows if row['source'] == 'gtzan'}
  assert len(mixed) == 6
  by_source = _counts(rows, 'genre', 'split', 'source')
  for genre in mixed:
    for split in sizes:
      for source in ('gtzan', 'fma'):
        assert by_source[genre, split, source] >= 10


def test_gtma_track_split_is_stratified_by_source():
  counts = _counts(_rows('gtma_track'), 'genre', 'source', 'split')
  for genre in ('classical', 'country', 'hiphop', 'jazz', 'pop', 'rock'):
    for source, wanted in (('gtzan', (80, 10, 10)), ('fma', (120, 15, 15))):
      found = (
        counts[genre, source, split] for split in ('train', 'valid', 'test')
      )
      assert tuple(found) == wanted


def test_filtered_gtzan_splits_have_the_published_sizes():
  counts = _counts(_rows('gtzan_artist'), 'split')
  assert counts == {('train',): 443, ('valid',): 197, ('test',): 290, ('',): 70}


def test_gtzan_track_split_has_ten_tracks_per_genre():
  rows = _rows('gtzan_track')
  counts = _counts(rows, 'genre', 'split')
  for genre in {row['genre'] for row in rows}:
    assert counts[genre, 'valid'] == counts[genre, 'test'] == 10
  # It has the same audio as rock.00016.
  unused = [row['track_id'] for row in rows if not row['split']]
  assert unused == ['gtzan/metal.00058']


@pytest.mark.parametrize('name', ['gtma_artist', 'gtzan_artist'])
def test_no_artist_is_in_two_splits(name):
  splits = collections.defaultdict(set)
  for row in _rows(name):
    if row['artist'] and row['split']:
      splits[row['artist']].add(row['split'])
  assert len(splits) > 100
  assert not [a for a, found in splits.items() if len(found) > 1]


@pytest.mark.parametrize('name', ['gtma_track', 'gtzan_track', 'gtzan_artist'])
def test_exact_replicas_are_in_one_split(name, data_dir):
  facts = data_dir / 'gtma' / 'gtzan_index.csv'
  split = {row['track_id']: row['split'] for row in _rows(name)}
  groups = collections.defaultdict(set)
  with facts.open(newline='', encoding='utf-8') as file:
    for row in csv.DictReader(file):
      found = split.get(f'gtzan/{row["track"]}')
      if row['exact_replica_group'] and found:
        groups[row['exact_replica_group']].add(found)
  assert len(groups) > 3
  assert all(len(splits) == 1 for splits in groups.values())


def test_window_split_equals_the_baseline_s_with_its_faults():
  rows = _rows('gtma_window')
  assert max(_counts(rows, 'genre', 'track_id', 'window').values()) == 1
  counts = _counts(rows, 'split')
  assert counts == {('train',): 18225, ('valid',): 2025, ('test',): 2250}
  by_genre = _counts(rows, 'genre', 'split')
  assert {by_genre[row['genre'], 'test'] for row in rows} == {225}
  tracks = {g: set() for g in ('electronic', 'instrumental')}
  for row in rows:
    if row['genre'] in tracks:
      tracks[row['genre']].add(row['track_id'])
  assert tracks['electronic'] == tracks['instrumental']
  tested = {r['track_id'] for r in rows if r['split'] == 'test'}
  assert tested <= {r['track_id'] for r in rows if r['split'] == 'train'}
