"""Thousands of damaged files: each is used or rejected; none crashes or hangs.

The quick test has 100 cases, the slow one 2,000; MGC_FUZZ_CASES changes their
number, MGC_FUZZ_SEED selects other ones.
"""

import csv
import faulthandler
import hashlib
import io
import json
import os
import pathlib
import random
import re
import sys

import jax
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mgc_jax.audio.names import known_artist
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.grouping import merged_groups
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.track import Track
from mgc_jax.models import bundle as bundles
from mgc_jax.models.bundle import Bundle
from mgc_jax.system.errors import DataError
from tests import small_models
from tests.conftest import tiny, write_tone

SEED = int(os.environ.get('MGC_FUZZ_SEED', 0))
LIMIT_S = 10
ENDINGS = ('wav', 'au', 'flac', 'ogg', 'mp3', 'opus')
ODD_BYTES = (b'\0', b'\xff', b'\x7f', b'"', b'\n', b',', b'{', b'\xff\x7f')


def _mutated(data, chance):
  """Flips, deletes, repeats, overwrites or truncates, one to eight times."""
  data = bytearray(data)
  for _ in range(chance.randint(1, 8)):
    # Damage headers more often: they are short but important.
    end = 64 if chance.random() < 0.4 else len(data)
    at = chance.randrange(min(end, len(data)) + 1)
    length = chance.choice((1, 1, 2, 4, 16, 300))
    how = chance.randrange(6)
    if how == 0 and data:
      data[at % len(data)] ^= 1 << chance.randrange(8)
    elif how == 1:
      del data[at : at + length]
    elif how == 2:
      data[at:at] = data[at : at + length]
    elif how == 3:
      data[at : at + length] = chance.choice(ODD_BYTES) * length
    elif how == 4:
      data[at : at + length] = chance.randbytes(length)
    else:
      del data[max(at, chance.randrange(len(data) + 1)) :]
  return bytes(data)


def _memory_kib(name):
  """Returns this process's current (VmRSS) or peak (VmHWM) memory on Linux."""
  text = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(rf'{name}:\s+(\d+) kB', text)[1])


def _fuzz(name, num_cases, intact, make, use):
  """Uses an intact input, then damaged ones, which may raise a `DataError`."""
  use(intact)
  chance = random.Random(f'{name} {SEED}')
  pathlib.Path('/proc/self/clear_refs').write_text('5')  # resets the peak
  before = _memory_kib('VmRSS')
  rejected = 0
  for _ in range(num_cases):
    case = make(chance)
    # Unlike a signal handler, this also ends code that never returns to Python.
    faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=sys.__stderr__)
    try:
      use(case)
    except DataError as error:
      assert '\n' not in str(error), str(error)
      rejected += 1
    finally:
      faulthandler.cancel_dump_traceback_later()
  grown = _memory_kib('VmHWM') - before
  print(f'{name}: {num_cases} cases, {rejected} rejected, +{grown >> 10} MiB')
  assert rejected
  assert grown < 400 << 10  # KiB


@pytest.fixture(params=[100, pytest.param(2000, marks=pytest.mark.slow)])
def num_cases(request):
  """The number of cases of all kinds; each test runs a fraction of them."""
  return int(os.environ.get('MGC_FUZZ_CASES', request.param))


@pytest.fixture
def features():
  return tiny().features


@pytest.mark.parametrize('ending', ENDINGS)
def test_damaged_audio_is_read_or_rejected(
  ending, num_cases, features, tmp_path
):
  path = write_tone(tmp_path / f'x.{ending}', seconds=0.6)
  whole = path.read_bytes()
  track = Track('t', str(path), 'jazz')

  def use(data):
    path.write_bytes(data)
    for excerpt in excerpts_of(track, features, 0.0, 'warn'):
      assert np.isfinite(excerpt.frames).all()

  _fuzz(
    ending,
    round(0.08 * num_cases),
    whole,
    lambda chance: _mutated(whole, chance),
    use,
  )


def test_damaged_frames_are_read_or_rejected(num_cases, features, tmp_path):
  path = tmp_path / 'x.npy'
  np.save(path, np.ones((30, features.num_bands), np.float32))
  whole = path.read_bytes()
  track = Track('t', str(path), 'jazz')

  def use(data):
    path.write_bytes(data)
    excerpts_of(track, features, 0.0)

  _fuzz(
    'npy',
    round(0.15 * num_cases),
    whole,
    lambda chance: _mutated(whole, chance),
    use,
  )


def test_damaged_manifests_are_read_or_rejected(num_cases, tmp_path):
  path = tmp_path / 'm.csv'
  rows = [f'a/{i}.wav,t{i},jazz,"Ann, ""B""",,train' for i in range(12)]
  header = 'path,track_id,genre,artist,title,split'
  whole = '\n'.join([header, *rows]).encode()

  def use(data):
    path.write_bytes(data)
    tracks = read_manifest(path, tmp_path, ('jazz', 'rock'))
    assert len({track.track_id for track in tracks}) == len(tracks) > 0
    assert all(track.path.startswith(str(tmp_path)) for track in tracks)

  _fuzz(
    'manifest',
    round(0.2 * num_cases),
    whole,
    lambda chance: _mutated(whole, chance),
    use,
  )


ODD_VALUES = (None, True, -1, 0, 3, 1e308, 10**12, 'x', '', [], [7], {})


def _bundle(folder):
  config = tiny()
  _, variables = small_models.initialise(config)
  bands = np.zeros(20, np.float32), np.ones(20, np.float32)
  bundles.save(Bundle(config, tuple('abcdefghij'), variables, *bands), folder)
  (weights,) = folder.glob('weights-*')
  return json.loads((folder / 'bundle.json').read_text()), weights.read_bytes()


def _is_sound(array):
  return array.dtype == np.float32 and np.isfinite(array).all()


def _odd_meta(meta, chance):
  """Replaces a random value in the description by an invalid one."""
  meta = json.loads(json.dumps(meta))
  place = meta
  while True:
    name = chance.choice(list(place))
    below = place[name]
    if not isinstance(below, dict) or not below or chance.random() < 0.1:
      break
    place = place[name]
  place[name] = chance.choice(ODD_VALUES)
  return meta


def test_damaged_bundles_are_loaded_or_rejected(num_cases, tmp_path):
  """Includes weights with a matching digest, as an attacker would write."""
  meta, weights = _bundle(tmp_path)

  def make(chance):
    text, data = json.dumps(meta).encode(), weights
    if chance.random() < 0.3:
      text = _mutated(text, chance)
    elif chance.random() < 0.5:
      text = json.dumps(_odd_meta(meta, chance)).encode()
    else:
      data = _mutated(data, chance)
      digest = hashlib.sha256(data).hexdigest()
      text = json.dumps({**meta, 'weights_sha256': digest}).encode()
    return text, data

  def use(case):
    (tmp_path / 'bundle.json').write_bytes(case[0])
    (tmp_path / meta['weights']).write_bytes(case[1])
    bundle = bundles.load(tmp_path)
    assert all(map(_is_sound, jax.tree.leaves(bundle.variables)))
    assert len(set(bundle.genres)) == 10 and 0 < bundle.temperature < 1e6

  _fuzz(
    'bundle',
    round(0.17 * num_cases),
    (json.dumps(meta).encode(), weights),
    make,
    use,
  )


# --- properties

QUICK = settings(
  max_examples=100,
  deadline=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CELL = st.text(max_size=12)


@QUICK
@given(rows=st.lists(st.tuples(CELL, CELL, CELL, CELL), min_size=1, max_size=5))
def test_manifest_round_trip_or_error(rows, tmp_path):
  text = io.StringIO()
  writer = csv.writer(text)
  writer.writerow(['path', 'track_id', 'genre', 'artist'])
  writer.writerows(rows)
  path = tmp_path / 'm.csv'
  path.write_bytes(text.getvalue().encode('utf-8', 'surrogatepass'))
  try:
    tracks = read_manifest(path, tmp_path)
  except DataError as error:
    assert str(path) in str(error)
    return
  rows = [[cell.strip() for cell in row] for row in rows]
  rows = [row for row in rows if any(row)]  # empty ones are skipped
  for track, (_, track_id, genre, artist) in zip(tracks, rows, strict=True):
    assert (track.track_id, track.genre) == (track_id, genre)
    assert track.artist == known_artist(artist)


@QUICK
@given(
  rate_hz=st.sampled_from([4000, 8000, 11025, 44100]),
  channels=st.integers(1, 8),
  seconds=st.floats(0.01, 4.0),
  gain=st.floats(0.0, 4.0),
)
def test_any_audio_becomes_finite_frames_or_an_error(
  rate_hz, channels, seconds, gain, tmp_path
):

  wave = np.random.default_rng(0).normal(
    size=(int(rate_hz * seconds), channels)
  )
  soundfile.write(tmp_path / 'x.wav', gain * wave, rate_hz, subtype='FLOAT')
  features = tiny().features
  track = Track('t', str(tmp_path / 'x.wav'), 'jazz')
  try:
    (excerpt,) = excerpts_of(track, features, 0.5)
  except DataError:
    assert seconds < 0.51 or gain < 0.1
    return
  num_samples = min(seconds, features.excerpt_s) * features.sample_rate_hz
  wanted = 1 + num_samples / features.hop_samples
  assert len(excerpt.frames) == pytest.approx(wanted, abs=1.1)
  assert np.isfinite(excerpt.frames).all()
  span = excerpt.frames.max() - excerpt.frames.min()
  assert span <= features.dynamic_range_db + 0.1


@QUICK
@given(st.lists(st.tuples(*[st.sampled_from(['', 'a', 'b', 'c', 'd'])] * 3)))
def test_rows_that_share_a_value_are_in_one_group(rows):
  columns = [np.array(column, str) for column in zip(*rows, strict=True)]
  groups = merged_groups(columns) if rows else []
  for i, one in enumerate(rows):
    for j, two in enumerate(rows[:i]):
      if any(a and a == b for a, b in zip(one, two, strict=True)):
        assert groups[i] == groups[j]
