"""Predicting the genres of files, from Python and on the command line."""

import csv
import dataclasses
import io
import json
import os
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from jax import export

import mgc_jax
from mgc_jax.config.schema import Config
from mgc_jax.experiments.shipped_models import golden_outputs
from mgc_jax.inference import jax_export
from mgc_jax.models import bundle as bundles
from mgc_jax.models.cpu.convolution import portable
from mgc_jax.system.errors import ConfigError, DataError
from tests import small_models
from tests.commands import run_command
from tests.conftest import tone, write_tone


@pytest.fixture
def model(bundle, tmp_path):
  """The folder of a bundle with random weights."""
  bundles.save(bundle, tmp_path / 'model')
  return tmp_path / 'model'


def _run(*args, **kwargs):
  return run_command('mgc_jax.predict', *args, **kwargs)


def test_an_export_computes_the_same_logits_as_its_bundle(bundle, tmp_path):
  path = tmp_path / 'model.mgc'
  path.write_bytes(jax_export.of_bundle(bundle))
  found = jax_export.read(path)
  rng = np.random.default_rng(0)
  size = found.max_frames, bundle.config.features.num_bands
  for batch in (1, 3):
    frames = rng.normal(-40, 9, (batch, *size)).astype(np.float16)
    logits, mask, embedding = found(frames, np.full(batch, size[0], np.int32))
    wanted = golden_outputs.window_logits(bundle, frames)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)
    assert mask.all() and embedding.shape[:2] == mask.shape
  assert found.genres == bundle.genres and found.temperature == 1.5


@pytest.mark.parametrize(
  'settings', small_models.SETTINGS.values(), ids=small_models.SETTINGS
)
def test_a_model_with_any_settings_can_be_exported(
  settings, bundle, tiny_config
):
  tiny_config.update_from_flattened_dict({**settings, 'model.num_genres': 10})
  bundle = small_models.with_random_weights(
    bundle, Config.from_dict(tiny_config)
  )
  data = jax_export.of_bundle(bundle)
  assert jax_export.loads(data).genres == bundle.genres


@pytest.mark.parametrize('end', [0, 100, -200])
def test_a_truncated_export_is_reported(bundle, tmp_path, end):
  path = tmp_path / 'model.mgc'
  path.write_bytes(jax_export.of_bundle(bundle)[:end])
  with pytest.raises(DataError, match='model.mgc: not an exported model'):
    jax_export.read(path)


def _for_a_tpu(bundle):
  return jax_export.make_predict_fn(bundle), ['tpu']


def _other_outputs(bundle):
  predict = jax_export.make_predict_fn(bundle)
  return lambda frames, num_frames: [*predict(frames, num_frames)], ['cpu']


def _calls_lapack(bundle):
  predict = jax_export.make_predict_fn(bundle)

  def predict_with_lapack(frames, num_frames):
    logits, mask, embedding = predict(frames, num_frames)
    matrix = jnp.linalg.cholesky(jnp.eye(4) + logits.mean() ** 2)
    return logits + matrix[0, 3], mask, embedding

  return predict_with_lapack, ['cpu']


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (_for_a_tpu, 'exported for tpu, not for cpu'),
    (_other_outputs, 'unexpected outputs'),
    (_calls_lapack, 'the program calls external code'),
  ],
)
def test_an_unsuitable_program_is_rejected(make, message, bundle, tmp_path):
  path = tmp_path / 'model.mgc'
  path.write_bytes(jax_export.of_bundle(bundle))
  with zipfile.ZipFile(path) as file:
    metadata = file.read('model.json')
  predict, platforms = make(bundle)
  with portable():
    exported = export.export(jax.jit(predict), platforms=platforms)(
      *jax_export.input_shapes(bundle.config.features)
    )
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('model.json', metadata)
    file.writestr('program.stablehlo', bytes(exported.serialize()))
  with pytest.raises(DataError, match=message):
    jax_export.read(path)


def test_a_model_name_that_is_too_long_is_reported():
  done = _run('x.mp3', f'--model={"m" * 300}')
  assert done.returncode == 2 and 'File name too long' in done.stderr
  assert 'Traceback' not in done.stderr


def test_python_and_the_command_line_give_the_same_prediction(model, tmp_path):
  path = write_tone(tmp_path / 'long.wav', seconds=7.5, rate_hz=11025)
  prediction = mgc_jax.load(model).predict(path)
  assert prediction.duration_s == pytest.approx(7.5, abs=1e-3)
  assert sum(p for _, p in prediction.top) == pytest.approx(1)
  assert prediction.windows == len(prediction.timeline)
  # A prediction is the mean of those for the windows, so both use the same
  # temperature.
  rows = [one.probabilities for one in prediction.timeline]
  by_genre = dict(prediction.top)
  for genre, mean in zip(prediction.genres, np.mean(rows, axis=0), strict=True):
    assert by_genre[genre] == pytest.approx(mean, abs=1e-6)
  starts = [one.start_s for one in prediction.timeline]
  assert starts == sorted(starts) and starts[-1] > 3
  flags = f'--model={model}', '--format=json'
  done = _run(path, *flags, '--timeline')
  assert done.returncode == 0, done.stderr
  assert json.loads(done.stdout) == prediction.to_json(3, timeline=True)
  found = json.loads(_run(path, *flags, '--top=all', '--timeline').stdout)
  assert list(found['probabilities']) == [genre for genre, _ in prediction.top]
  for window, one in zip(found['timeline'], prediction.timeline, strict=True):
    wanted = dict(zip(prediction.genres, one.probabilities, strict=True))
    assert window['probabilities'] == pytest.approx(wanted, abs=1e-4)


def test_audio_in_memory_gives_the_prediction_of_its_file(model, tmp_path):
  path = write_tone(tmp_path / 'song.wav', seconds=4.0, channels=2)
  classifier = mgc_jax.load(model)
  wanted = classifier.predict(path)
  samples, rate_hz = soundfile.read(path, dtype='float32')
  found = classifier.predict([path, path.read_bytes()])
  found.append(classifier.predict(samples, rate_hz))
  found.append(classifier.predict(samples.mean(axis=1), sample_rate_hz=rate_hz))
  for one in found:
    assert one.probabilities == pytest.approx(wanted.probabilities, abs=1e-3)
    assert list(one.probabilities) == [genre for genre, _ in one.top]
  assert [one.path for one in found] == [str(path), '', '', '']


@pytest.mark.parametrize('dtype', ['float16', '>f4', 'float64', 'longdouble'])
def test_samples_of_every_floating_point_type_are_used(dtype, model):
  samples = tone(4.0, 8000)
  classifier = mgc_jax.load(model)
  wanted = classifier.predict(samples, 8000).probabilities
  found = classifier.predict(samples.astype(dtype), np.float64(8000.0))
  assert found.probabilities == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(
  ('audio', 'rate_hz', 'message'),
  [
    (np.zeros(9000, np.float32), None, 'need a sample_rate_hz'),
    (np.zeros(9000, np.int16), 8000, r'int16\[9000\]: must be floating-point'),
    (np.zeros((2, 2, 2)), 8000, r'float64\[2, 2, 2\]: must be'),
    (np.zeros((2, 9000)), 8000, r'float64\[2, 9000\]: cannot be used'),
    (np.zeros(9000), -8000, 'need a sample_rate_hz, not -8000'),
    (np.zeros(9000), float('nan'), 'need a sample_rate_hz, not nan'),
    (np.zeros(9000), 10**12, 'need a sample_rate_hz, not 1000000000000'),
    (np.zeros(9000), 5, 'a sample rate of 5 Hz'),
    (np.zeros(0), 8000, r'float64\[0\]: empty'),
    (np.zeros(9000), 8000, 'silent'),
    (np.full(9000, np.nan), 8000, 'silent'),
    (b'no audio', None, 'not audio'),
  ],
)
def test_unusable_audio_in_memory_is_reported(audio, rate_hz, message, model):
  with pytest.raises(DataError, match=message):
    mgc_jax.load(model).predict(audio, rate_hz)


def test_a_timeline_ends_where_the_track_does(tmp_path):
  """An excerpt of 31 s is reduced to as many frames as one of 30 s."""
  path = write_tone(tmp_path / 'long.wav', 62.0, 22050)
  timeline = mgc_jax.load('cnn').predict(path).timeline
  assert [x.start_s for x in timeline if x.start_s == 31.0] == [31.0]
  for start_s in (0.0, 31.0):
    ends = [x.end_s for x in timeline if start_s <= x.start_s < start_s + 31]
    assert start_s + 30.7 < ends[-1] <= start_s + 31
  lengths = [x.end_s - x.start_s for x in timeline]
  assert np.ptp(lengths) < 1e-6 and lengths[0] == pytest.approx(7.69, abs=0.01)


def test_files_that_fail_are_reported_and_the_others_predicted(
  model, music_folder
):
  (music_folder / 'jazz' / 'text.mp3').write_text('no music')
  (music_folder / 'rock' / 'cover.jpg').write_text('ignored')
  done = _run(music_folder, f'--model={model}', '--format=csv')
  assert done.returncode == 1
  rows = list(csv.DictReader(io.StringIO(done.stdout)))
  assert len(rows) == 12
  assert rows[0]['path'] == str(music_folder / 'jazz' / '0.wav')
  assert sum(float(rows[0][g]) for g in 'abcdefghij') == pytest.approx(
    1, abs=1e-3
  )
  assert 'jazz/text.mp3: not audio' in done.stderr
  assert '1 of 13 files failed' in done.stderr


def test_paths_are_read_from_standard_input_and_text_lists_the_genres(
  model, tmp_path
):
  path = write_tone(tmp_path / 'a.wav')
  plot = tmp_path / 'a.png'
  done = _run(
    '-', f'--model={model}', f'--plot={plot}', '--timeline', stdin=f'{path}\n'
  )
  assert done.returncode == 0, done.stderr
  first, second, *windows = done.stdout.splitlines()
  assert first == f'{model} knows a, b, c, d, e, f, g, h, i, j'
  assert second.startswith(f'{path}: ') and len(windows) > 1
  assert plot.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    ((), 'required: PATH'),
    (('x.wav', '--model=nope'), 'no such model'),
    (
      ('x.wav', 'y.wav', '--plot=a.png'),
      '--plot=a.png: needs exactly one file, got 2',
    ),
    (('x.wav', '--format=xml'), 'format'),
    (('x.wav', '--plot=.'), '--plot=.: a folder; specify a file'),
  ],
)
def test_wrong_usage_is_rejected_with_a_reason(args, message):
  done = _run(*args)
  assert done.returncode == 2 and message in done.stderr
  assert 'Traceback' not in done.stderr


def test_names_that_look_like_formulas_can_be_plotted(bundle, tmp_path):
  genres = ('a$_$', '$\\frac{', *bundle.genres[2:])
  bundles.save(dataclasses.replace(bundle, genres=genres), tmp_path / 'odd')
  song = write_tone(tmp_path / 'x.wav')
  song = song.rename(tmp_path / os.fsdecode(b'$_$\xff.wav'))
  plot = tmp_path / 'a.png'
  done = _run(song, f'--model={tmp_path / "odd"}', f'--plot={plot}')
  assert done.returncode == 0 and plot.exists(), done.stderr


def test_short_and_missing_files_raise_data_errors(model, tmp_path):
  loaded = mgc_jax.load(model)
  with pytest.raises(DataError, match='too short: 0.50 s'):
    loaded.predict(write_tone(tmp_path / 'short.wav', seconds=0.5))
  with pytest.raises(DataError, match='no such file'):
    loaded.predict(tmp_path / 'missing.wav')
  with pytest.raises(ConfigError, match='no such model'):
    mgc_jax.load(tmp_path / 'nothing')


@pytest.mark.parametrize(
  'name',
  [
    pytest.param('cnn', marks=pytest.mark.slow),
    pytest.param('lstm', marks=pytest.mark.slow),
    'crnn',
  ],
)
def test_an_exported_model_gives_the_same_predictions(name, tmp_path):
  file, song = tmp_path / 'model.mgc', tmp_path / 'song.wav'
  write_tone(song, 20.0, 22050)
  done = run_command('mgc_jax', 'export', f'--model={name}', f'--to={file}')
  assert done.returncode == 0, done.stderr
  wanted = mgc_jax.load(name).predict(song)
  found = mgc_jax.load(file).predict(song)
  for a, b in zip(found.timeline, wanted.timeline, strict=True):
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
  done = _run(song, f'--model={file}', '--format=json')
  assert json.loads(done.stdout)['genre'] == wanted.genre
