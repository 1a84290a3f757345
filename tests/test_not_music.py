"""The sounds that are not music."""

import csv
import pathlib
import shutil

import numpy as np
import pytest
import soundfile

from mgc_jax.experiments.shipped_models import not_music
from mgc_jax.inference.pretrained import NOT_MUSIC
from mgc_jax.system.errors import DataError


@pytest.fixture
def few(monkeypatch):
  """Makes two sounds of each kind, which last a second."""
  monkeypatch.setattr(not_music, '_PER_KIND', 2)
  monkeypatch.setattr(not_music, '_DURATION_S', 1)
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
  assert {row['genre'] for row in rows} == {NOT_MUSIC}
  kinds = [row['artist'] for row in rows]
  assert {kind: kinds.count(kind) for kind in kinds} == (
    dict.fromkeys([*not_music._KINDS, 'speech'], 2)
  )
  for name, (samples, rate_hz) in _samples(tmp_path).items():
    assert np.isfinite(samples).all(), name
    # Only espeak-ng decides how long it speaks, and at which rate.
    is_second = len(samples) == rate_hz == 16000
    assert is_second or name.startswith('speech'), name
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


def _power(samples):
  """Returns f64[bins] that sum to one, a bin for each Hz of one second."""
  power = np.abs(np.fft.rfft(samples)) ** 2
  return power / power.sum()


@pytest.mark.parametrize('seed', range(3))
def test_sounds_are_of_their_kinds(few, seed):
  def make(kind):
    return not_music._KINDS[kind](np.random.default_rng(seed))

  bands = np.flatnonzero(_power(make('band noise')) > 1e-9)
  assert 1.1 < bands[-1] / bands[0] < 6.2 and np.ptp(bands) == len(bands) - 1
  share = (make('pulsed noise') == 0).mean()
  assert 0.1 < share < 0.9
  assert np.sort(_power(make('tone')))[-20:].sum() > 0.95
  tones = np.sort(_power(make('tones')))
  assert tones[-80:].sum() > 0.95 and tones[-2] > 0.01
  assert set(np.unique(make('square wave'))) <= {-1.0, 0.0, 1.0}
  start, end = np.split(make('sweep'), [8000])
  assert abs(_power(start).argmax() - _power(end).argmax()) > 3
  assert 0 < (make('clicks') != 0).mean() < 0.01
  assert _power(make('hum'))[50:351:50].sum() > 0.5
  dark = _power(not_music._noise(np.random.default_rng(seed), slope=-1.0))
  assert dark[:400].sum() > 0.8  # of white noise it would be a twentieth
  assert _power(make('near-silence'))[4000:].sum() == pytest.approx(0.5, 0.1)


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
