import csv
import hashlib
import json
import shutil
import zipfile

import jax
import numpy as np
import pytest

from mgc_jax.audio import decode, musicnn_mel
from mgc_jax.datasets.without_keras import tf
from mgc_jax.experiments.encoders import musicnn_checkpoint
from mgc_jax.features import encoder as encoder_files
from mgc_jax.features import musicnn_encoder
from mgc_jax.models.cpu.convolution import portable
from mgc_jax.models.musicnn import Musicnn
from mgc_jax.system.errors import DataError
from tests.reference import librosa
from tests.small_models import apply

CONVOLUTIONS = [
  (7, 38, 1, 204),
  (7, 67, 1, 204),
  (128, 1, 1, 51),
  (64, 1, 1, 51),
  (32, 1, 1, 51),
  (7, 561, 1, 64),
  (7, 64, 1, 64),
  (7, 64, 1, 64),
]
NORMS = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]
DENSE = [(1506, 200), (200, 50)]
TAGS = [f'tag {i}' for i in range(50)]
LICENCE = b'Permission is granted.'


def _noise(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _numbered(kind, shapes):
  return {f'{kind}_{i}' if i else kind: x for i, x in enumerate(shapes)}


@pytest.fixture(scope='module')
def checkpoint():
  """Variables as in the published checkpoint, with some filters of zeros."""
  rng = np.random.default_rng(1)

  def draw(*shape, scale=0.1):
    return scale * rng.normal(size=shape)

  found = {}
  layers = _numbered('conv2d', CONVOLUTIONS) | _numbered('dense', DENSE)
  for name, shape in layers.items():
    found[f'{name}/kernel'] = draw(*shape, scale=np.prod(shape[:-1]) ** -0.5)
    found[f'{name}/bias'] = draw(shape[-1])
  for name, size in _numbered('batch_normalization', NORMS).items():
    found[f'{name}/gamma'] = 1 + draw(size)
    found[f'{name}/beta'] = draw(size)
    found[f'{name}/moving_mean'] = draw(size)
    found[f'{name}/moving_variance'] = rng.uniform(0.5, 1.5, size)
    found[f'{name}/gamma/Adam'] = draw(size)  # of the optimiser
  for i, name in enumerate(list(_numbered('conv2d', CONVOLUTIONS))[:5]):
    norm = f'batch_normalization_{i + 1}'
    found[f'{name}/kernel'][..., i::2] *= 1e-31
    if i:
      found[f'{norm}/beta'][i::2] *= 1e-5  # as where weight decay removed them
    found[f'{norm}/moving_mean'][i::2] = np.maximum(
      found[f'{name}/bias'][i::2], 0
    )
  # Only the pooling reads the others, whose output is a constant.
  found['conv2d_5/kernel'][:, :204:2] = 0
  # As they are after the conversion.
  return {k: v.astype(np.float16).astype(np.float32) for k, v in found.items()}


@pytest.fixture(scope='module')
def wheel(checkpoint, tmp_path_factory):
  """A wheel like that of musicnn, and its SHA-256."""
  folder = tmp_path_factory.mktemp('wheel')
  tf.raw_ops.SaveV2(
    prefix=str(folder / 'model'),
    tensor_names=list(checkpoint),
    shape_and_slices=[''] * len(checkpoint),
    tensors=list(checkpoint.values()),
  )
  path = folder / 'musicnn.whl'
  with zipfile.ZipFile(path, 'w') as archive:
    for file in folder.glob('model.*'):
      archive.write(file, musicnn_checkpoint.CHECKPOINT + file.suffix)
    archive.writestr(
      musicnn_checkpoint.CONFIGURATION, f'SR = 16000\nMSD_LABELS = {TAGS!r}\n'
    )
    archive.writestr(musicnn_checkpoint.LICENCE, LICENCE)
  return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope='module')
def converted(wheel, tmp_path_factory):
  folder = tmp_path_factory.mktemp('converted') / 'encoder'
  musicnn_checkpoint.convert(wheel[0], folder, wheel[1])
  return folder


def _reference(weights, x):
  """Returns features and tags by TensorFlow's operations, channels last."""

  def norm(x, number):
    name = f'batch_normalization_{number}' if number else 'batch_normalization'
    return tf.nn.batch_normalization(
      x,
      weights[f'{name}/moving_mean'],
      weights[f'{name}/moving_variance'],
      weights[f'{name}/beta'],
      weights[f'{name}/gamma'],
      1e-3,
    )

  def conv(x, number):
    name = f'conv2d_{number}' if number else 'conv2d'
    kernel = weights[f'{name}/kernel']
    if kernel.shape[1] > 1:  # all bands, or some; padded in time only
      x = tf.pad(x, [[0, 0], [3, 3], [0, 0], [0, 0]])
    padding = 'VALID' if kernel.shape[1] > 1 else 'SAME'
    x = tf.nn.conv2d(x, kernel, 1, padding) + weights[f'{name}/bias']
    return norm(tf.nn.relu(x), number + 1)

  x = norm(x[..., None], 0)
  x = tf.concat([tf.reduce_max(conv(x, i), 2) for i in range(5)], 2)
  maps = [x, conv(x[..., None], 5)[:, :, 0]]
  for i in (6, 7):
    maps.append(conv(maps[-1][..., None], i)[:, :, 0] + maps[-1])
  x = tf.concat(maps, 2)
  x = tf.stack([tf.reduce_max(x, 1), tf.reduce_mean(x, 1)], 2)
  x = norm(tf.reshape(x, [len(x), -1]), 9)
  x = x @ weights['dense/kernel'] + weights['dense/bias']
  x = norm(tf.nn.relu(x), 10)
  logits = x @ weights['dense_1/kernel'] + weights['dense_1/bias']
  return x.numpy(), tf.sigmoid(logits).numpy()


def test_converted_network_equals_that_of_the_checkpoint(checkpoint, converted):
  windows = np.abs(_noise(2, 187, 96))
  features, tags = _reference(checkpoint, windows)
  variables = musicnn_encoder.read_variables(converted)
  whole = apply(Musicnn(), variables, windows)
  model, variables = musicnn_encoder.prune(variables)
  assert sum(model.front_filters) == 284
  pruned = apply(model, variables, windows)
  with portable():  # the convolutions of accelerators
    native = jax.jit(model.apply)(variables, windows)
  for found in (whole, pruned, native):
    np.testing.assert_allclose(found.tags, tags, atol=1e-3)
    np.testing.assert_allclose(found.features, features, atol=1e-3)
    assert tags.std() > 0.01 and features.std() > 0.1


def test_conversion_writes_licence_tags_and_origin(wheel, converted):
  encoder = musicnn_encoder.load(converted)
  assert encoder.tag_names == tuple(TAGS)
  assert (converted / 'LICENSE').read_bytes() == LICENCE
  card = (converted / 'README.md').read_text()
  assert wheel[1] in card and 'tag 49' in card


def test_another_wheel_is_refused(wheel, tmp_path):
  with pytest.raises(DataError, match='wrong bytes'):
    musicnn_checkpoint.convert(wheel[0], tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


def test_a_wheel_without_the_checkpoint_is_refused(tmp_path):
  path = tmp_path / 'empty.whl'
  zipfile.ZipFile(path, 'w').close()
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  with pytest.raises(DataError, match='cannot be converted'):
    musicnn_checkpoint.convert(path, tmp_path, digest)


def test_shipped_encoder_is_the_published_network():
  folder = encoder_files.FOLDER
  variables = musicnn_encoder.read_variables()
  assert sum(x.size for x in jax.tree.leaves(variables['params'])) == 787_159
  assert sum(file.stat().st_size for file in folder.iterdir()) < 2e6
  assert musicnn_checkpoint.WHEEL_SHA256 in (folder / 'README.md').read_text()
  licence = (folder / 'LICENSE').read_text()
  assert 'Universitat Pompeu Fabra' in licence
  assert 'with or without fee' in licence
  names = musicnn_encoder.load().tag_names
  assert len(set(names)) == 50 and {'rock', 'Hip-Hop', 'jazz'} < set(names)


@pytest.mark.parametrize(
  'damage',
  [
    lambda folder: (folder / 'weights.safetensors').write_bytes(b'no'),
    lambda folder: (folder / 'weights.safetensors').unlink(),
    lambda folder: (folder / 'tags.json').write_text('['),
    lambda folder: (folder / 'tags.json').write_text(json.dumps(TAGS[1:])),
  ],
)
def test_a_damaged_encoder_is_refused(damage, tmp_path):
  folder = tmp_path / 'encoder'
  shutil.copytree(encoder_files.FOLDER, folder)
  damage(folder)
  with pytest.raises(DataError, match=str(folder)):
    musicnn_encoder.load(folder)


def _windows(blocks, num_windows):
  """f32[W, T, F] of the frames that are yielded at a time."""
  for frames in musicnn_mel.frames(blocks, num_windows):
    starts = range(0, len(frames) - 186, 61)
    assert len(frames) == starts[-1] + 187
    yield np.stack([frames[i : i + 187] for i in starts])


def test_windows_are_those_of_librosa():
  sound = _noise(16000 * 30)
  mel = librosa().feature.melspectrogram(
    y=sound, sr=16000, hop_length=256, n_fft=512, n_mels=96
  )
  frames = np.log10(1 + 10000 * mel.T)
  wanted = [frames[i : i + 187] for i in range(0, len(frames) - 186, 61)]
  found = np.concatenate(list(_windows([sound], 5)))
  np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize('length', [16000 * 20, 16000 * 9 + 77, 200, 1])
def test_windows_do_not_depend_on_blocks(length):
  sound = _noise(length)
  blocks = [sound[i : i + 7001] for i in range(0, length, 7001)]
  whole = np.concatenate(list(_windows([sound], 100)))
  parts = list(_windows(blocks, 3))
  assert max(map(len, parts)) <= 3
  np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_a_short_track_is_repeated_and_silence_has_a_window():
  sound = _noise(16000)
  short, long = (
    np.concatenate(list(_windows([x], 3))) for x in (sound, np.tile(sound, 3))
  )
  assert len(short) == 1
  np.testing.assert_allclose(short[:, :180], long[:, :180], atol=1e-5)
  (silence,) = _windows([], 3)
  assert silence.shape == (1, 187, 96) and not silence.any()


def test_taggrams_of_real_clips_are_the_published_ones(data_dir):
  folder = data_dir / 'gtzan_taggram'
  taggrams = np.load(folder / 'taggrams.npy')
  with (folder / 'manifest.csv').open() as file:
    rows = {row['track_id']: row for row in csv.DictReader(file)}
  encoder = musicnn_encoder.load()
  num_compared = 0
  for path in sorted((data_dir / 'gtzan_audio').glob('*/*.au')):
    row = rows.get(f'gtzan/{path.stem}')
    if not row:  # not in the training list
      continue
    first, count = int(row['first_row']), int(row['num_rows'])
    wanted = taggrams[first : first + count]
    blocks = decode.ExcerptReader(path, 16000, 10.0, 'all')
    features, tags = encoder.encode(block for _, block in blocks)
    assert tags.shape == wanted.shape and features.shape == (count, 200), path
    assert np.abs(tags - wanted).mean() < 0.01, path
    assert np.corrcoef(tags.ravel(), wanted.ravel())[0, 1] > 0.99, path
    num_compared += 1
  assert num_compared == 3


@pytest.mark.slow
def test_training_updates_batch_statistics_and_all_weights_get_gradients():
  model = Musicnn((3, 2, 2, 1, 2))
  windows = np.abs(_noise(4, 9, 70))
  variables = jax.jit(model.init)(jax.random.key(0), windows)

  def loss(params):
    output, state = model.apply(
      {**variables, 'params': params},
      windows,
      train=True,
      rngs={'dropout': jax.random.key(1)},
      mutable=['batch_stats'],
    )
    return output.tags.var() + output.features.var(), state

  grads, state = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))
  assert np.abs(grads['front_0']['kernel']).max() > 0
  changed = jax.tree.map(
    lambda x, y: bool((x != y).any()),
    state['batch_stats'],
    variables['batch_stats'],
  )
  assert all(jax.tree.leaves(changed))
