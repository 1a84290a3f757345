"""The sounds that are not music."""

import csv
import pathlib
import shutil

import numpy as np
import pytest
import soundfile

from mgc_jax.experiments.shipped_models import not_music
from mgc_jax.system.errors import DataError


@pytest.fixture
def few(monkeypatch):
  """Makes two sounds of each kind, which last a second."""
  monkeypatch.setattr(not_music, '_PER_KIND', 2)
  monkeypatch.setattr(not_music, '_TIME_S', np.arange(16000) / 16000)
  monkeypatch.setattr(not_music, '_VOICES', ['en'])


def _without_speech(monkeypatch):
  monkeypatch.setattr(not_music, '_VOICES', [])


def _samples(folder):
  return {
    path.name: soundfile.read(path, dtype='float32')
    for path in folder.glob('*.wav')
  }


@pytest.mark.skipif(not shutil.which('espeak-ng'), reason='needs espeak-ng')
def test_the_manifest_lists_all_files_with_their_kinds(few, tmp_path):
  number = not_music.write(tmp_path)
  with (tmp_path / 'manifest.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert list(rows[0]) == ['path', 'track_id', 'genre', 'artist']
  paths = {row['path'] for row in rows}
  assert len(rows) == number == len(paths)
  assert paths == {path.name for path in tmp_path.glob('*.wav')}
  assert {row['genre'] for row in rows} == {not_music.GENRE}
  kinds = [row['artist'] for row in rows]
  assert {kind: kinds.count(kind) for kind in kinds} == (
    dict.fromkeys([*not_music._KINDS, 'speech'], 2)
  )
  for name, (samples, _) in _samples(tmp_path).items():
    assert np.isfinite(samples).all(), name
    peak_db = 20 * np.log10(np.abs(samples).max())
    low, high = (-75, -60) if 'near-silence' in name else (-64, -1)
    assert low - 0.1 <= peak_db <= high + 0.1, name


def test_the_same_sounds_are_made_again(few, tmp_path, monkeypatch):
  _without_speech(monkeypatch)
  for name in ('one', 'two'):
    not_music.write(tmp_path / name)
  one, two = (_samples(tmp_path / name) for name in ('one', 'two'))
  assert one.keys() == two.keys()
  for name in one:
    np.testing.assert_array_equal(one[name][0], two[name][0])
  assert len({samples.tobytes() for samples, _ in one.values()}) == len(one)


def test_clicks_are_never_silent(monkeypatch):
  monkeypatch.setattr(not_music, '_TIME_S', np.arange(1000) / 16000)
  for seed in range(20):
    assert not_music._clicks(np.random.default_rng(seed)).any()


def test_missing_espeak_is_reported(few, tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(DataError, match='espeak-ng: cannot speak; install it'):
    not_music.write(tmp_path / 'out')
  assert not (tmp_path / 'out' / 'manifest.csv').exists()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(DataError, match='Not a directory'):
    not_music.write(pathlib.Path(tmp_path / 'file' / 'out'))
