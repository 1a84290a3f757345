import csv
import os

import pytest

from mgc_jax.datasets import excerpt_index
from mgc_jax.datasets.prepare import prepare
from mgc_jax.system.errors import DataError
from tests.conftest import write_tone


@pytest.fixture
def config(folder_config):
  return folder_config


def test_unusable_tracks_are_skipped_with_reasons(config, music_folder):
  for name in ('long', 'longer'):
    for i in range(20):
      write_tone(music_folder / 'rock' / f'{name}{i}.wav', frequency_hz=99 + i)
  (music_folder / 'jazz' / 'empty.mp3').write_bytes(b'')
  (music_folder / 'jazz' / 'text.mp3').write_text('no music')
  write_tone(music_folder / 'jazz' / 'short.wav', seconds=0.2)
  prepared = prepare(config)
  reasons = {row['track_id']: row['reason'] for row in prepared.skipped}
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


def test_skipping_over_a_tenth_raises_unless_allowed(config, music_folder):
  for i in (0, 1):
    (music_folder / 'jazz' / f'{i}.wav').write_bytes(b'')
  with pytest.raises(DataError, match='2 of 12 tracks.*allow_missing'):
    prepare(config)
  config.data.allow_missing = True
  assert len(prepare(config).index) == 10


def test_skipping_all_tracks_of_a_genre_raises(config, music_folder):
  for i in range(40):
    write_tone(music_folder / 'rock' / f'more{i}.wav', frequency_hz=99 + i)
  write_tone(music_folder / 'folk' / '0.wav', seconds=0.1)
  with pytest.raises(DataError, match='no track of folk'):
    prepare(config)


def test_message_names_the_files_if_none_is_readable(config, music_folder):
  for path in music_folder.glob('*/*.wav'):
    path.write_text('no music')
  with pytest.raises(DataError, match='no track could be prepared: .*0.wav'):
    prepare(config)
  assert not list((music_folder.parent / 'prepared').glob('**/*.csv'))


def _made(prepared):
  path = prepared.index.directory / excerpt_index.INDEX_FILE
  return path, os.stat(path).st_mtime_ns


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


@pytest.mark.parametrize('name', ['index.csv', 'genres.txt', 'left_out.csv'])
def test_missing_file_of_the_records_raises(config, name):
  directory = prepare(config).index.directory
  (directory / name).unlink()
  with pytest.raises(DataError, match=f'{directory}: damaged.*delete this'):
    prepare(config)


@pytest.mark.parametrize('name', ['index.csv', 'band_sums.npy', 'genres.txt'])
def test_flipped_byte_beside_the_records_raises(config, name):
  directory = prepare(config).index.directory
  data = bytearray((directory / name).read_bytes())
  data[-2] ^= 1
  (directory / name).write_bytes(data)
  with pytest.raises(DataError, match=f'damaged .changed: {name}.; delete'):
    prepare(config)


def test_incomplete_folder_of_a_killed_process_is_deleted(config, tmp_path):
  directory = prepare(config).index.directory
  stale = directory.parent / 'incomplete.ABC123_1.1.0'
  directory.rename(stale)
  assert prepare(config).index.directory == directory
  assert not stale.exists()


def test_changed_mode_is_a_changed_file(config, music_folder):
  first = _made(prepare(config))
  (music_folder / 'jazz' / '0.wav').chmod(0o600)
  assert _made(prepare(config))[0] != first[0]


def test_unwritable_folder_raises(config, tmp_path):
  (tmp_path / 'file').write_text('')
  config.data.prepared_dir = str(tmp_path / 'file' / 'below')
  with pytest.raises(DataError, match='below: cannot write records'):
    prepare(config)
