"""A pretrained encoder as feature extractor, from audio to a prediction."""

import csv
import json

import numpy as np
import pytest
import soundfile

import mgc_jax
from mgc_jax.audio import musicnn_mel
from mgc_jax.audio.log_mel import log_mel
from mgc_jax.config.recipes import encoder_config
from mgc_jax.config.schema import ENCODERS, Config, frame_rate_hz, validate
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.track import Track
from mgc_jax.experiments.encoders.taggrams import convert
from mgc_jax.features import encoder as encoder_files
from mgc_jax.features import musicnn_encoder
from mgc_jax.features.frames import frames_of, log_odds
from mgc_jax.system.errors import ConfigError, DataError
from tests.commands import run_command
from tests.conftest import tone, write_tone
from tests.processes import ROOT
from tests.small_models import apply

RATE_HZ = 16000


@pytest.mark.parametrize('extractor', ENCODERS)
def test_an_encoder_gives_about_one_frame_per_second(extractor):
  features = Config.from_dict(encoder_config(extractor)).features
  assert features.sample_rate_hz == musicnn_mel.SAMPLE_RATE_HZ
  assert frame_rate_hz(features) == pytest.approx(1 / 0.976)
  frames = frames_of(tone(30.0, RATE_HZ)[:, 0], features)
  assert frames.shape == (28, ENCODERS[extractor]['num_bands'])
  assert frames.dtype == np.float16 and np.isfinite(frames).all()


def test_tags_are_log_odds():
  features = Config.from_dict(encoder_config('musicnn_tags')).features
  samples = tone(5.0, RATE_HZ)[:, 0]
  _, tags = musicnn_encoder.load().encode(samples)
  found = 1 / (1 + np.exp(-frames_of(samples, features).astype(np.float32)))
  np.testing.assert_allclose(found, tags, atol=2e-3)


def test_windows_are_encoded_in_order(monkeypatch):
  encoder = musicnn_encoder.load()
  samples = np.concatenate([tone(2.0, RATE_HZ)[:, 0], tone(7.0, RATE_HZ)[:, 0]])
  (frames,) = musicnn_mel.frames([samples], 100)
  windows = np.stack([frames[i : i + 187] for i in range(0, 7 * 61, 61)])
  wanted = apply(encoder.model, encoder.variables, windows)
  monkeypatch.setattr(encoder_files, 'BATCH_SIZE', 5)  # the second has two
  assert len(frames) == 6 * 61 + 187
  found = encoder.encode([samples[:33333], samples[33333:]])
  np.testing.assert_allclose(found[0], wanted.features, atol=1e-4)
  np.testing.assert_allclose(found[1], wanted.tags, atol=1e-5)
  assert np.ptp(found[0], axis=0).max() > 0.1


def test_log_odds_of_certain_tags_are_finite():
  found = log_odds(np.array([0.0, 0.5, 1.0], np.float32))
  np.testing.assert_allclose(found, [-13.8, 0.0, 13.8], atol=0.1)


@pytest.mark.parametrize('seconds', [1.0, 2.9, 3.1])
def test_short_tracks_have_a_frame(seconds, tmp_path):
  path = write_tone(tmp_path / 'a.wav', seconds=seconds)
  features = Config.from_dict(encoder_config()).features
  (excerpt,) = excerpts_of(Track('a', str(path), 'rock'), features, 1.0)
  assert len(excerpt.frames) == 1


def test_sizes_that_the_encoder_lacks_are_rejected():
  config = encoder_config('musicnn_tags')
  config.features.num_bands = 200
  with pytest.raises(ConfigError, match='num_bands=200: must be 50 with'):
    validate(config)


def _train(workdir, *flags):
  return run_command(
    'mgc_jax.main',
    f'--config={ROOT}/configs/transfer.py',
    f'--workdir={workdir}',
    '--config.train.num_epochs=2',
    '--config.windows.num_frames=4',
    '--config.windows.hop_frames=4',
    '--config.model.lstm.hidden_size=4',
    '--config.model.dense.sizes=(4,)',
    '--config.eval.num_bootstrap=100',
    '--config.data.num_workers=1',
    *flags,
  )


@pytest.mark.slow  # its parts have quick tests
def test_a_model_on_the_encoder_is_trained_and_predicts_a_song(tmp_path):
  for genre, frequency_hz in (('low', 200.0), ('high', 900.0)):
    for i in range(4):
      path = tmp_path / 'music' / genre / f'{i}.wav'
      write_tone(path, seconds=6.0, frequency_hz=frequency_hz + i)
  done = _train(
    tmp_path / 'run',
    '--config.data.source=folder',
    f'--config.data.root={tmp_path}/music',
    '--config.data.protocol=track',
    '--config.data.valid_fraction=0.25',
    '--config.data.test_fraction=0.25',
  )
  assert done.returncode == 0, done.stderr
  assert not (tmp_path / 'run' / 'plots' / 'spectrograms.png').exists()
  model = mgc_jax.load(tmp_path / 'run')
  song = write_tone(tmp_path / 'song.wav', seconds=70.0, frequency_hz=200.0)
  prediction = model.predict(song)
  assert set(prediction.probabilities) == {'low', 'high'}
  assert prediction.timeline[-1].end_s == pytest.approx(70.0, abs=4.0)


@pytest.fixture
def taggrams(tmp_path):
  """Three tracks of 2, 3 and 4 rows."""
  folder = tmp_path / 'published'
  folder.mkdir()
  rows = np.random.default_rng(0).uniform(size=(9, 50)).astype(np.float32)
  np.save(folder / 'taggrams.npy', rows)
  with (folder / 'manifest.csv').open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['track_id', 'genre', 'artist', 'first_row', 'num_rows'])
    for i, first in enumerate((0, 2, 5)):
      writer.writerow([f'set/t{i}', 'ab'[i % 2], f'artist {i}', first, 2 + i])
  return folder


def test_taggrams_are_converted(taggrams, tmp_path):
  target = tmp_path / 'out'
  words = ('encoders', 'convert-taggrams', taggrams, f'--to={target}')
  done = run_command('mgc_jax', *words)
  assert done.returncode == 0, done.stderr
  assert '3 tracks' in done.stdout
  with (target / 'manifest.csv').open(newline='') as file:
    paths = [row['path'] for row in csv.DictReader(file)]
  assert paths == ['a/t0.npy', 'b/t1.npy', 'a/t2.npy']
  frames = np.load(target / 'a' / 't2.npy')
  wanted = log_odds(np.load(taggrams / 'taggrams.npy')[5:9])
  assert frames.dtype == np.float16
  np.testing.assert_allclose(frames, wanted, atol=1e-2)


def test_rows_that_do_not_exist_are_reported(taggrams, tmp_path):
  np.save(taggrams / 'taggrams.npy', np.zeros((8, 50), np.float32))
  words = ('encoders', 'convert-taggrams', taggrams, f'--to={tmp_path}/out')
  done = run_command('mgc_jax', *words)
  assert done.returncode == 1
  assert 'manifest.csv, line 4: rows 5 to 9 do not exist' in done.stderr
  assert not (tmp_path / 'out' / 'manifest.csv').exists()


@pytest.mark.parametrize(
  ('genre', 'track_id', 'message'),
  [
    ('..', 'x', 'genre ..: cannot be the name of a folder'),
    ('../../a', 'x', 'cannot be the name of a folder'),
    ('/tmp', 'x', 'cannot be the name of a folder'),
    ('', 'x', 'cannot be the name of a folder'),
    ('a', 'set/..', 'track_id set/..: cannot be the name of a file'),
    ('a', '', 'cannot be the name of a file'),
    ('a', 'other/t0', 'a/t0.npy is already that of another track'),
    ('a', 'x' * 300, 'line 5: .*File name too long'),
  ],
)
def test_names_that_lead_elsewhere_are_reported(
  genre, track_id, message, taggrams, tmp_path
):
  with (taggrams / 'manifest.csv').open('a', newline='') as file:
    csv.writer(file).writerow([track_id, genre, 'artist', 0, 2])
  before = {path for path in tmp_path.rglob('*')}
  with pytest.raises(DataError, match=message):
    convert(taggrams, tmp_path / 'out' / 'deep')
  new = {path for path in tmp_path.rglob('*.npy')} - before
  assert new and all(tmp_path / 'out' / 'deep' in path.parents for path in new)


@pytest.mark.parametrize(
  ('rows', 'message'),
  [
    (np.full((9, 50), np.nan), 'rows 0 to 2 are not probabilities'),
    (np.full((9, 50), 2.0), 'rows 0 to 2 are not probabilities'),
    (np.zeros((9, 50), np.int32), r'int32\[9, 50\], not floats of shape'),
    (np.zeros((9, 49)), r'float64\[9, 49\], not floats of shape'),
  ],
)
def test_what_is_no_taggram_is_reported(rows, message, taggrams, tmp_path):
  np.save(taggrams / 'taggrams.npy', rows)
  with pytest.raises(DataError, match=message):
    convert(taggrams, tmp_path / 'out')


def test_an_empty_list_of_taggrams_is_reported(taggrams, tmp_path):
  (taggrams / 'manifest.csv').write_text('track_id,genre,first_row,num_rows\n')
  with pytest.raises(DataError, match='lists no tracks'):
    convert(taggrams, tmp_path / 'out')


def test_frames_of_the_default_extractor_are_log_mel():
  features = Config().features
  samples = tone(2.0, features.sample_rate_hz)[:, 0]
  found = frames_of(samples, features)
  assert found.dtype == np.float16
  wanted = log_mel(samples, features).astype(np.float16)
  np.testing.assert_array_equal(found, wanted)


def test_near_duplicates_need_log_mel_frames():
  config = encoder_config()
  config.data.near_duplicates = True
  with pytest.raises(ConfigError, match='near_duplicates=True: needs log-mel'):
    validate(config)


def test_a_folder_gets_tags_except_where_the_encoder_hears_nothing(tmp_path):
  write_tone(tmp_path / 'low.wav', 4.0, 44100)
  high = np.sin(2 * np.pi * 9500 * np.arange(4 * 44100) / 44100)
  high *= np.hanning(len(high))  # no click, which would have all frequencies
  soundfile.write(tmp_path / 'high.wav', high, 44100)
  words = (tmp_path, '--tags', '--format=json', '--model=cnn')
  done = run_command('mgc_jax.predict', *words)
  assert done.returncode == 0, done.stderr
  found = map(json.loads, done.stdout.splitlines())
  high, low = sorted(found, key=lambda one: one['path'])
  assert high['tags'] == {} and len(low['tags']) == 5
  assert 'high.wav: no tags: silent' in done.stderr


@pytest.mark.parametrize('format_', ['text', 'json', 'csv'])
def test_predict_prints_tags(format_, tmp_path):
  path = write_tone(tmp_path / 'song.wav', seconds=4.0)
  words = (path, '--tags', f'--format={format_}', '--model=cnn')
  done = run_command('mgc_jax.predict', *words)
  assert done.returncode == 0, done.stderr
  names = musicnn_encoder.load().tag_names
  if format_ == 'json':
    tags = json.loads(done.stdout)['tags']
    assert len(tags) == 5 and set(tags) <= set(names)
    assert sorted(tags.values(), reverse=True) == list(tags.values())
  elif format_ == 'csv':
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert len(row['tags'].split(', ')) == 5
  else:
    assert any(f'tags: {name} ' in done.stdout for name in names)
