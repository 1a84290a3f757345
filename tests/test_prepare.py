import csv

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mgc_jax.datasets import builder, excerpt_index
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.prepare import prepare
from mgc_jax.errors import DataError
from tests.conftest import write_tone


@pytest.fixture
def config(tiny_config, music_folder, tmp_path):
  tiny_config.data.source = 'folder'
  tiny_config.data.root = str(music_folder)
  tiny_config.data.prepared_dir = str(tmp_path / 'prepared')
  return tiny_config


def test_records_hold_the_frames_of_every_track(config):
  prepared = prepare(config)
  index = prepared.index
  assert len(index) == 12 and prepared.left_out == []
  assert index.genres == ('jazz', 'rock')
  records = tfds.builder_from_directory(index.directory)
  found = {
    example['excerpt_id'].decode(): example
    for example in records.as_dataset('excerpts').as_numpy_iterator()
  }
  for track in prepared.tracks.values():
    (excerpt,) = excerpts_of(track, config.features, 1.0)
    example = found[f'{track.track_id}#0']
    joined = example['windows'].reshape(-1, 20)[: example['num_frames']]
    np.testing.assert_array_equal(joined, excerpt.frames)
    assert index.genres[example['label']] == track.genre


def test_two_processes_write_the_same_records(config, tmp_path):
  one = prepare(config).index
  config.data.num_workers = 2
  config.data.prepared_dir = str(tmp_path / 'again')
  two = prepare(config).index
  shards = [
    next(i.directory.glob('*.tfrecord*')).read_bytes() for i in (one, two)
  ]
  assert shards[0] == shards[1]


def test_statistics_are_those_of_the_frames(config):
  prepared = prepare(config)
  frames = np.concatenate(
    [
      excerpts_of(track, config.features, 1.0)[0].frames.astype(np.float64)
      for track in prepared.tracks.values()
    ]
  )
  mean, std = prepared.index.band_stats(np.arange(12))
  np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-4)
  np.testing.assert_allclose(std, frames.std(0), rtol=1e-3)


def test_unusable_tracks_are_left_out_with_reasons(config, music_folder):
  for name in ('long', 'longer'):
    for i in range(20):
      write_tone(music_folder / 'rock' / f'{name}{i}.wav', frequency_hz=99 + i)
  (music_folder / 'jazz' / 'empty.mp3').write_bytes(b'')
  (music_folder / 'jazz' / 'text.mp3').write_text('no music')
  write_tone(music_folder / 'jazz' / 'short.wav', seconds=0.2)
  prepared = prepare(config)
  reasons = {row['track_id']: row['reason'] for row in prepared.left_out}
  assert sorted(reasons) == [
    'jazz/empty.mp3',
    'jazz/short.wav',
    'jazz/text.mp3',
  ]
  assert 'empty' in reasons['jazz/empty.mp3']
  assert 'too short' in reasons['jazz/short.wav']
  assert len(prepared.index) == 52
  with open(prepared.index.directory / 'left_out.csv') as file:
    assert len(list(csv.DictReader(file))) == 3


def test_losing_over_a_tenth_stops_unless_allowed(config, music_folder):
  for i in (0, 1):
    (music_folder / 'jazz' / f'{i}.wav').write_bytes(b'')
  with pytest.raises(DataError, match='2 of 12 tracks.*allow_missing'):
    prepare(config)
  config.data.allow_missing = True
  assert len(prepare(config).index) == 10


def test_losing_all_of_a_genre_stops(config, music_folder):
  for i in range(40):
    write_tone(music_folder / 'rock' / f'more{i}.wav', frequency_hz=99 + i)
  write_tone(music_folder / 'folk' / '0.wav', seconds=0.1)
  with pytest.raises(DataError, match='no track of folk'):
    prepare(config)


def test_nothing_readable_names_the_files(config, music_folder):
  for path in music_folder.glob('*/*.wav'):
    path.write_text('no music')
  with pytest.raises(DataError, match='no track could be prepared: .*0.wav'):
    prepare(config)
  assert not list((music_folder.parent / 'prepared').glob('**/*.csv'))


def _made(prepared):
  path = prepared.index.directory / excerpt_index.INDEX_FILE
  return path, path.stat().st_mtime_ns


def test_records_are_reused_and_never_stale(config, music_folder):
  first = _made(prepare(config))
  config.data.split_seed = 7
  config.windows.num_frames = 16
  assert _made(prepare(config)) == first
  write_tone(music_folder / 'jazz' / '0.wav', frequency_hz=123.0)
  second = _made(prepare(config))
  assert second[0] != first[0]
  config.features.num_bands = 21
  assert _made(prepare(config))[0] not in (first[0], second[0])


def test_unwritable_folder_is_named(config, tmp_path):
  (tmp_path / 'file').write_text('')
  config.data.prepared_dir = str(tmp_path / 'file' / 'below')
  with pytest.raises(DataError, match='below: cannot write records'):
    prepare(config)


def test_index_gives_every_record_by_its_offset(config):
  index = prepare(config).index
  assert (np.sort(index.excerpt_id) == index.excerpt_id).all()
  for row in range(len(index)):
    data = (index.directory / index.shard[row]).read_bytes()
    start = index.offset[row] + 12
    length = int.from_bytes(data[start - 12 : start - 4], 'little')
    assert index.excerpt_id[row].encode() in data[start : start + length]
  assert builder.WINDOW_FRAMES == 64
