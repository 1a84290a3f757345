"""The choice of what computes a model; needs the optional dependencies."""

import json
import sys

import numpy as np
import pytest

import mgc_jax
from mgc_jax.inference import loading, pretrained
from mgc_jax.inference.jax_export import Program
from mgc_jax.inference.onnx_model import encoder as onnx_encoder
from mgc_jax.inference.onnx_model import runtimes
from mgc_jax.inference.onnx_model.program import OnnxProgram
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError
from tests.commands import run_command
from tests.conftest import write_tone
from tests.processes import predict_without_jax

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytestmark = pytest.mark.slow
INSTALLED = list(filter(runtimes.is_installed, runtimes.RUNTIMES))


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """An empty cache; returns the folder of what was measured."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return tmp_path / 'cache' / 'mgc_jax' / 'engines'


@pytest.fixture
def model(bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  return tmp_path / 'model'


def _program(model, **kwargs):
  return type(loading.load(model, **kwargs)._program)


def test_the_engine_is_measured_once_and_remembered(cache, model):
  first = _program(model)
  (measured,) = cache.glob('*.json')
  found = json.loads(measured.read_bytes())
  assert set(found['seconds']) == {'jax', *INSTALLED}
  assert found['seconds'][found['engine']] == min(found['seconds'].values())
  programs = {'jax': Program, **dict.fromkeys(INSTALLED, OnnxProgram)}
  assert first == programs[found['engine']]
  for engine, program in programs.items():
    measured.write_text(json.dumps({'engine': engine}))
    assert _program(model) == program
  assert list(cache.glob('*.json')) == [measured]


@pytest.mark.parametrize('content', ['', '[]', '{}', '{"engine": "other"}'])
def test_a_damaged_measurement_is_made_again(cache, model, content):
  first = _program(model)
  (measured,) = cache.glob('*.json')
  measured.write_text(content)
  assert _program(model) in (Program, OnnxProgram)
  assert set(json.loads(measured.read_bytes())) == {'engine', 'seconds'}
  assert first in (Program, OnnxProgram)


@pytest.mark.parametrize('name', pretrained.NAMES)
def test_all_engines_predict_the_same(name, tmp_path):
  song = write_tone(tmp_path / 'song.wav', 12.0, frequency_hz=330)
  wanted = mgc_jax.load(name, engine='jax').predict(song)
  for engine in INSTALLED:
    found = mgc_jax.load(name, engine=engine).predict(song)
    for genre, probability in found.probabilities.items():
      assert abs(probability - wanted.probabilities[genre]) < 1e-4
    np.testing.assert_allclose(found.embedding, wanted.embedding, atol=1e-3)
    assert found.windows == wanted.windows


@pytest.mark.parametrize('engine', INSTALLED)
def test_with_a_filled_cache_neither_jax_nor_flax_is_imported(engine, tmp_path):
  song = write_tone(tmp_path / 'song.wav', 4.0)
  words = (f'--engine={engine}', '--format=json', '--tags', str(song))
  first = run_command('mgc_jax.predict', *words)
  done = predict_without_jax(*words)
  assert done.returncode == 0, done.stderr
  assert json.loads(done.stdout) == json.loads(first.stdout)


def test_a_collection_is_the_same_with_all_engines(tmp_path):
  for name in ('a', 'b'):
    write_tone(tmp_path / 'music' / f'{name}.wav', 3.0)
  found = []
  for engine in ('jax', *INSTALLED):
    index = f'--index={tmp_path}/{engine}.sqlite'
    words = ('index', index, '--model=cnn', str(tmp_path / 'music'))
    done = run_command('mgc_jax.collection', *words, f'--engine={engine}')
    assert done.returncode == 0, done.stderr
    done = run_command('mgc_jax.collection', 'report', index, '--format=json')
    found.append(json.loads(done.stdout))
  assert all(one == found[0] for one in found[1:])


def test_damaged_programs_in_the_cache_are_exported_again(cache, tmp_path):
  song = write_tone(tmp_path / 'song.wav', 3.0)
  onnx_encoder.load.cache_clear()
  first = mgc_jax.load('tags', engine='onnx').predict(song)
  programs = list((cache.parent / 'programs').glob('*.onnx'))
  assert len(programs) == 2  # the model and the encoder
  sizes = [path.stat().st_size for path in programs]
  for path in programs:
    path.write_bytes(path.read_bytes()[:1000])
  onnx_encoder.load.cache_clear()
  again = mgc_jax.load('tags', engine='onnx').predict(song)
  assert again.top == first.top
  assert [path.stat().st_size for path in programs] == sizes


def test_an_unknown_engine_is_named(model):
  with pytest.raises(ConfigError, match='engine=tpu: must be one of auto, jax'):
    mgc_jax.load(model, engine='tpu')


def test_a_file_has_the_engine_that_it_was_exported_for(tmp_path):
  path = tmp_path / 'model.onnx'
  words = ('--model=tags', '--format=onnx', f'--to={path}')
  assert run_command('mgc_jax', 'export', *words).returncode == 0
  song = write_tone(tmp_path / 'song.wav', 2.0)
  done = run_command(
    'mgc_jax.predict', f'--model={path}', '--engine=jax', str(song)
  )
  assert done.returncode == 2
  assert 'model.onnx was exported for onnx; omit --engine' in done.stderr


@pytest.mark.parametrize(
  ('engine', 'missing'),
  [('onnx', 'onnx'), ('onnx', 'onnxruntime'), ('openvino', 'openvino')],
)
def test_a_missing_package_is_named_or_not_used(
  engine, missing, cache, model, monkeypatch
):
  monkeypatch.setitem(sys.modules, missing, None)
  message = rf'{missing}: pip install .mgc_jax\[{engine}\]'
  with pytest.raises(ConfigError, match=message):
    mgc_jax.load(model, engine=engine)
  others = [x for x in INSTALLED if missing not in runtimes.RUNTIMES[x]]
  assert _program(model) in (Program, *[OnnxProgram] * len(others))
  for path in cache.glob('*.json'):
    assert set(json.loads(path.read_bytes())['seconds']) == {'jax', *others}
