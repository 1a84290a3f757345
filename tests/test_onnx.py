"""Models exported to ONNX; needs the optional dependencies."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from mgc_jax.config import base_config
from mgc_jax.config.schema import MUSICNN_INPUT, Config
from mgc_jax.features import musicnn_encoder
from mgc_jax.inference import jax_export, loading, pretrained
from mgc_jax.inference.jax_export import make_predict_fn
from mgc_jax.inference.onnx_model import encoder as onnx_encoder
from mgc_jax.inference.onnx_model import export as onnx_export
from mgc_jax.inference.onnx_model import program as onnx_program
from mgc_jax.inference.onnx_model import runtimes
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError, DataError
from tests import small_models
from tests.conftest import write_tone
from tests.processes import environment, predict_without_jax

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytestmark = pytest.mark.slow
INSTALLED = list(filter(runtimes.is_installed, runtimes.RUNTIMES))


@pytest.fixture
def file(bundle, tmp_path):
  path = tmp_path / 'model.onnx'
  path.write_bytes(onnx_export.of_bundle(bundle))
  return path


@pytest.mark.parametrize('name', pretrained.NAMES)
def test_onnx_and_jax_compute_the_same_logits(name, tmp_path):
  path = tmp_path / f'{name}.onnx'
  command = [
    sys.executable,
    '-m',
    'mgc_jax',
    'export',
    f'--model={name}',
  ]
  subprocess.run(
    [*command, '--format=onnx', f'--to={path}'], check=True, env=environment()
  )
  found = onnx_program.read(path)
  wanted = jax_export.loads(
    jax_export.of_bundle(bundles.load(pretrained.path(name))), trusted=True
  )
  assert found.digest == wanted.digest and found.genres == wanted.genres
  for runtime in INSTALLED:
    _check_equal(onnx_program.loads(path.read_bytes(), runtime), wanted)


def _check_equal(found, wanted):
  """Compares what two programs compute for excerpts of several lengths."""
  rng = np.random.default_rng(0)
  size = wanted.max_frames, wanted.config.features.num_bands
  num_frames = np.array([size[0], size[0] // 2, size[0] // 8], np.int32)
  frames = np.zeros((3, *size), np.float16)
  for row, count in zip(frames, num_frames, strict=True):
    row[:count] = rng.normal(-40, 9, (count, size[1]))
  pairs = zip(
    found(frames, num_frames), wanted(frames, num_frames), strict=True
  )
  for ours, theirs in pairs:
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    # Relative to logits of some hundreds, which random weights cause.
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
  'settings', small_models.SETTINGS.values(), ids=small_models.SETTINGS
)
def test_onnx_and_jax_agree_for_all_settings(settings, bundle, tiny_config):
  tiny_config.update_from_flattened_dict(
    {'model.num_genres': len(bundle.genres), **settings}
  )
  bundle = small_models.with_random_weights(
    bundle, Config.from_dict(tiny_config)
  )
  data = onnx_export.of_bundle(bundle)
  onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
  wanted = jax_export.loads(jax_export.of_bundle(bundle))
  for runtime in INSTALLED:
    _check_equal(onnx_program.loads(data, runtime), wanted)


def test_a_network_that_was_an_encoder_can_be_exported(bundle, tmp_path):
  config = base_config()
  config.model.name = 'musicnn'
  for name, value in MUSICNN_INPUT.items():
    config.update_from_flattened_dict({name: value})
  config.update_from_flattened_dict(
    {
      'features.excerpt_s': 6.0,
      'windows.num_frames': 187,
      'windows.hop_frames': 61,
      'model.num_genres': len(bundle.genres),
      'model.dense.sizes': (),
      'model.dense.dropout': (),
    }
  )
  config = Config.from_dict(config)
  variables = musicnn_encoder.load().variables
  zeros = np.zeros(config.features.num_bands, np.float32)
  head = np.random.default_rng(0).normal(size=(200, len(bundle.genres)))
  dense = {'kernel': head.astype(np.float32), 'bias': zeros[: len(head[0])]}
  params = {**variables['params'], 'Head_0': {'Dense_0': dense}}
  del params['tags']
  bundle = dataclasses.replace(
    bundle,
    config=config,
    variables={**variables, 'params': params},
    band_mean=zeros,
    band_std=zeros + 1,
  )
  path = tmp_path / 'model.onnx'
  path.write_bytes(onnx_export.of_bundle(bundle))
  found, wanted = onnx_program.read(path), make_predict_fn(bundle)
  frames = np.random.default_rng(1).random((1, found.max_frames, 96)) * 4
  inputs = frames.astype(np.float16), np.array([300], np.int32)
  for ours, theirs in zip(found(*inputs), wanted(*inputs), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize('runtime', INSTALLED)
def test_the_encoder_computes_the_same_in_all_runtimes(runtime):
  samples = np.random.default_rng(0).normal(0, 0.1, 16000 * 12)
  samples = samples.astype(np.float32)
  found = onnx_encoder.load(runtime).encode(samples)
  wanted = musicnn_encoder.load().encode(samples)
  for ours, theirs in zip(found, wanted, strict=True):
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_predict_needs_neither_jax_nor_flax(file, tmp_path):
  song = write_tone(tmp_path / 'song.wav', 4.0)
  done = predict_without_jax(f'--model={file}', '--format=json', song)
  assert done.returncode == 0, done.stderr
  prediction = loading.load(file).predict(song)
  assert json.loads(done.stdout) == prediction.to_json(3)


@pytest.mark.parametrize('runtime', INSTALLED)
def test_runtimes_report_nothing_to_their_authors(runtime, file, tmp_path):
  folder = tmp_path / 'temporary'
  folder.mkdir()
  code = (
    'import pathlib, sys\n'
    'from mgc_jax.inference.onnx_model import program\n'
    'program.loads(pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[2])'
  )
  command = [sys.executable, '-c', code, str(file), runtime]
  env = environment(TMPDIR=folder, HOME=folder)
  subprocess.run(command, check=True, env=env)
  # Where they report, they keep files there.
  assert not list(folder.iterdir())


def _foreign(model):
  del model.metadata_props[:]


def _other_genres(model):
  meta = json.loads(model.metadata_props[0].value)
  meta['genres'] = meta['genres'][:3]
  model.metadata_props[0].value = json.dumps(meta)


def _one_genre_twice(model):
  meta = json.loads(model.metadata_props[0].value)
  meta['genres'] = ['jazz'] * len(meta['genres'])
  model.metadata_props[0].value = json.dumps(meta)


def _other_version(model):
  meta = json.loads(model.metadata_props[0].value)
  meta['format_version'] = 99
  model.metadata_props[0].value = json.dumps(meta)


def _names_another_file(model):
  for tensor in model.graph.initializer:
    tensor.ClearField('raw_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = 'location', '/etc/passwd'


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (_foreign, 'not an exported model'),
    (_other_genres, 'does not match its metadata'),
    (_one_genre_twice, 'genres: must be one or more different names'),
    (_other_version, 'format version 99, not'),
    (_names_another_file, 'not an exported model'),
  ],
)
def test_a_model_with_invalid_metadata_or_files_is_rejected(
  file, change, message
):
  model = onnx.load(file)
  change(model)
  file.write_bytes(model.SerializeToString())
  with pytest.raises(DataError, match=message):
    loading.load(file)


def _return_other_shapes(model):
  """Makes a model return other shapes than it declares.

  The sizes are computed from an input, so they are only known when it runs.
  """
  helper, types, graph = onnx.helper, onnx.TensorProto, model.graph
  del graph.node[:], graph.initializer[:]
  graph.initializer.append(helper.make_tensor('no', types.INT64, [1], [0]))
  graph.node.append(
    helper.make_node('Cast', ['num_frames'], ['n'], to=types.INT64)
  )
  graph.node.append(helper.make_node('Mul', ['n', 'no'], ['none']))
  for name, sizes, kind in (
    ('logits', (1, 2, 3), types.FLOAT),
    ('mask', (1, 5), types.BOOL),
    ('embedding', (1, 2, 4), types.FLOAT),
  ):
    size = helper.make_tensor(f'{name}_', types.INT64, [len(sizes)], sizes)
    graph.initializer.append(size)
    shape = helper.make_node('Add', ['none', f'{name}_'], [f'{name}_shape'])
    value = helper.make_tensor('value', kind, [1], [1])
    fill = helper.make_node(
      'ConstantOfShape', [f'{name}_shape'], [name], value=value
    )
    graph.node.extend([shape, fill])


def test_outputs_with_undeclared_shapes_are_rejected(file, tmp_path):
  model = onnx.load(file)
  _return_other_shapes(model)
  file.write_bytes(model.SerializeToString())
  song = write_tone(tmp_path / 'song.wav', 4.0)
  with pytest.raises(DataError, match='other shapes than it declares'):
    loading.load(file).predict(song)


@pytest.mark.parametrize('data', [b'', b'text', bytes(1000)])
def test_a_file_that_is_not_a_model_is_reported(tmp_path, data):
  path = tmp_path / 'x.onnx'
  path.write_bytes(data)
  with pytest.raises(DataError, match='x.onnx: not an exported model'):
    loading.load(path)


def test_a_missing_onnxruntime_is_reported_with_its_extra(file, monkeypatch):
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  with pytest.raises(ConfigError, match=r'pip install .*mgc_jax\[onnx\]'):
    loading.load(file)
