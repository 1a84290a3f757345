import csv
import functools

import numpy as np
import pytest

from mgc_jax.audio.log_mel import log_mel
from mgc_jax.config.schema import Config, base_config
from mgc_jax.datasets import near_duplicates
from mgc_jax.datasets.near_duplicates import NearDuplicate
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.splits import make_splits
from mgc_jax.system.errors import DataError
from tests.commands import run_command

_RATE_HZ = 22050
_FEATURES = near_duplicates.features(12.9)


@functools.cache
def _music(seed, duration_s=12.0):
  """Returns f32[L], read-only: notes of random pitch, length and loudness."""
  rng = np.random.default_rng(seed)
  waveform = rng.normal(0, 1e-3, round(duration_s * _RATE_HZ))
  for _ in range(round(8 * duration_s)):
    time_s = np.arange(round(rng.uniform(0.1, 0.8) * _RATE_HZ)) / _RATE_HZ
    pitch_hz = rng.uniform(100, 1500)
    note = sum(
      np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 6)
    )
    note *= rng.uniform(0.1, 1) * np.exp(-4 * time_s)
    start = rng.integers(len(waveform))
    note = note[: len(waveform) - start]
    waveform[start : start + len(note)] += note
  waveform = (waveform / np.abs(waveform).max()).astype(np.float32)
  waveform.flags.writeable = False
  return waveform


def _low_passed(waveform):
  import scipy.signal  # takes over a second, in every worker of pytest

  sos = scipy.signal.butter(4, 4000, fs=_RATE_HZ, output='sos')
  return scipy.signal.sosfilt(sos, waveform).astype(np.float32)


def _with_noise(waveform):
  rng = np.random.default_rng(0)
  return waveform + rng.normal(0, 0.01, len(waveform)).astype(np.float32)


def _signature(waveform):
  return near_duplicates.contrasts(log_mel(waveform, _FEATURES), 12.9)


@pytest.fixture(scope='module')
def originals():
  return [_signature(_music(seed)) for seed in range(6)]


@pytest.mark.parametrize(
  ('change', 'shift_s'),
  [
    (lambda x: x, 0.0),
    (lambda x: 0.1 * x, 0.0),
    (_low_passed, 0.0),
    (_with_noise, 0.0),
    (lambda x: x[round(2.33 * _RATE_HZ) :], 2.33),
    (lambda x: np.concatenate([_music(9, 1.7), x]), -1.7),
    (lambda x: _low_passed(0.3 * x[round(0.77 * _RATE_HZ) :]), 0.77),
  ],
)
def test_changed_copy_of_a_recording_is_found(originals, change, shift_s):
  copy = _signature(change(_music(2)))
  (found,) = near_duplicates.find_near_duplicates([*originals, copy], 12.9)
  assert (found.first, found.second) == (2, 6)
  assert found.shift_s == pytest.approx(shift_s, abs=0.1)
  assert found.similarity > 0.8


def test_excerpts_without_a_common_part_are_not_near_duplicates():
  whole = _music(2, 24.0)
  halves = [_signature(part) for part in np.split(whole, 2)]
  assert near_duplicates.find_near_duplicates(halves, 12.9) == []


@pytest.mark.parametrize('num_frames', [0, 1, 5, 400])
def test_silence_equals_nothing(originals, num_frames):
  silence = near_duplicates.contrasts(
    np.full((num_frames, 128), -80, np.float16), 12.9
  )
  assert (
    near_duplicates.find_near_duplicates([*originals, silence, silence], 12.9)
    == []
  )


def test_no_tracks_have_no_near_duplicates():
  assert near_duplicates.find_near_duplicates([], 12.9) == []


def test_words_of_many_tracks_are_ignored(originals):
  """Otherwise, the time would grow with the square of the tracks."""
  copies = 60 * [originals[0]]
  assert near_duplicates.find_near_duplicates(copies, 12.9) == []


def test_too_few_bands_are_refused():
  with pytest.raises(DataError, match='40 bands'):
    near_duplicates.contrasts(np.zeros((50, 40), np.float16), 12.9)


def test_groups_are_transitive():
  pairs = [NearDuplicate(i, j, 0.0, 1.0) for i, j in ((1, 3), (3, 4))]
  names = near_duplicates.group_names(['a', 'b', 'c', 'd', 'e'], pairs)
  assert names.tolist() == ['', 'b', '', 'b', 'b']


def _write_manifest(root, splits=('train', 'test')):
  """Writes frames of 12 tracks; the last is the first one, 1 s later."""
  with (root / 'tracks.csv').open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['path', 'track_id', 'genre', 'split', 'artist'])
    for i in range(12):
      waveform = _music(0)[_RATE_HZ:] if i == 11 else _music(i)
      np.save(root / f'{i}.npy', log_mel(waveform, _FEATURES).astype('f2'))
      genre = ('jazz', 'rock')[i % 11 % 2]
      writer.writerow([f'{i}.npy', f't{i}', genre, splits[i // 11], f'a{i}'])


def test_leaks_command_finds_near_duplicates_if_it_has_the_files(tmp_path):
  _write_manifest(tmp_path)
  words = ('mgc_jax', 'leaks', tmp_path / 'tracks.csv')
  assert run_command(*words).returncode == 0
  done = run_command(*words, f'--root={tmp_path}')
  assert done.returncode == 1
  assert (
    'near-duplicates in two splits (1):\n  t0 (jazz, train) = t11 (jazz, test)'
    in done.stdout
  )


@pytest.mark.parametrize('rate', ['0', '-1', 'nan', 'x'])
def test_an_impossible_rate_of_frames_is_reported(rate):
  words = ('mgc_jax', 'leaks', 'x.csv', '--root=.', f'--frames-per-s={rate}')
  done = run_command(*words)
  assert done.returncode == 2 and 'a number' in done.stderr


def test_unreadable_files_are_reported_and_left_out(tmp_path):
  _write_manifest(tmp_path)
  (tmp_path / '7.npy').write_bytes(b'')
  done = run_command(
    'mgc_jax', 'leaks', tmp_path / 'tracks.csv', f'--root={tmp_path}'
  )
  assert done.returncode == 1
  assert 'skipped: ' in done.stderr and '7.npy: empty' in done.stderr


def test_near_duplicates_stay_in_one_split(tmp_path):
  _write_manifest(tmp_path)
  config = base_config()
  config.data.update(
    source='manifest',
    root=str(tmp_path),
    manifest='tracks.csv',
    prepared_dir=str(tmp_path / 'records'),
    num_workers=1,
    num_folds=2,
    near_duplicates=True,
  )
  config.features.hop_samples, config.features.frames_per_s = 512, 12.9
  config.windows.num_frames = config.windows.hop_frames = 30
  prepared = prepare(Config.from_dict(config))
  rows = np.flatnonzero(np.isin(prepared.index.track_id, ['t0', 't11']))
  for seed in range(6):
    config.data.split_seed = seed
    splits = make_splits(prepared, Config.from_dict(config))
    found = [np.isin(rows, e.rows).sum() for e in splits.examples.values()]
    assert sorted(found) == [0, 0, 2]
  config.data.num_folds = 0
  config.data.protocol = 'given'
  with pytest.raises(DataError, match='near-duplicates in two splits .1.:'):
    make_splits(prepared, Config.from_dict(config))


def test_gtzan_has_no_near_duplicates(data_dir):
  paths = sorted((data_dir / 'gtzan_logmel').glob('*/*.npy'))
  signatures = [near_duplicates.contrasts(np.load(p), 12.9) for p in paths]
  assert len(signatures) == 639
  assert near_duplicates.find_near_duplicates(signatures, 12.9) == []
