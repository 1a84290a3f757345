"""Bundles from outside: damaged, or made to do harm, one line each.

Each is rejected with a message that names it, and memory does not grow with
what a file claims.
"""

import hashlib
import json
import os
import shutil
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

from mgc_jax.config.schema import Config
from mgc_jax.models import bundle as bundles
from mgc_jax.models.bundle import Bundle
from mgc_jax.system.errors import DataError
from tests import small_models
from tests.conftest import table

GENRES = tuple('abcdefghij')


@pytest.fixture
def bundle(tiny_config, tmp_path):
  """A folder with a good bundle."""
  config = Config.from_dict(tiny_config)
  _, variables = small_models.initialise(config)
  bands = np.zeros(20, np.float32), np.ones(20, np.float32)
  bundles.save(Bundle(config, GENRES, variables, *bands), tmp_path)
  return tmp_path


def _edit(section=None, **changes):
  def edit(folder):
    path = folder / 'bundle.json'
    meta = json.loads(path.read_text())
    (meta[section] if section else meta).update(changes)
    path.write_text(json.dumps(meta))

  return edit


def _nested(depth):
  return {'cnn': _nested(depth - 1)} if depth else 1


def _write_json(text):
  return lambda folder: (folder / 'bundle.json').write_text(text)


def _weights(folder):
  return next(folder.glob('weights-*'))


def _flip(folder):
  data = bytearray(_weights(folder).read_bytes())
  data[-5] ^= 1
  _weights(folder).write_bytes(data)


def _zeros(folder):
  with _weights(folder).open('r+b') as file:
    file.truncate(10 * 10**9)  # no disk is used for them


_fft = _edit('features', hop_samples=1, fft_samples=2**17)


def _instead(make):
  """Puts something else in the place of bundle.json."""

  def edit(folder):
    (folder / 'bundle.json').unlink()
    make(folder / 'bundle.json')

  return edit


def _weights_link(target):
  def edit(folder):
    path = _weights(folder)
    path.unlink()
    path.symlink_to(target)

  return edit


def _other_weights(change):
  """Changes the weights, and makes their digest fit, as an attacker would."""

  def edit(folder):
    arrays = safetensors.numpy.load_file(_weights(folder))
    data = safetensors.numpy.save({k: change(v) for k, v in arrays.items()})
    _weights(folder).write_bytes(data)
    _edit(weights_sha256=hashlib.sha256(data).hexdigest())(folder)

  return edit


def _linked(folder):
  _weights(folder).replace(folder.parent / 'elsewhere')
  _edit(weights='../elsewhere')(folder)


BUNDLES = [
  ('altered weights', _flip, 'weights-.*: damaged'),
  ('10 GB of zeros', _zeros, 'weights-.*: over 1073741824 bytes'),
  ('no weights', lambda f: _weights(f).unlink(), 'weights-.*: No such file'),
  ('other genres', _edit(genres=['a', 'b']), 'weights do not fit'),
  ('genres that are none', _edit(genres=7), 'not a bundle'),
  ('path upwards', _edit(weights='../../etc/passwd'), 'are outside the folder'),
  ('absolute path', _edit(weights='/etc/passwd'), 'are outside the folder'),
  ('a link upwards', _linked, 'are outside the folder'),
  (
    'the folder itself',
    _edit(weights='..'),
    'outside the folder',
  ),
  ('zero byte in a path', _edit(weights='a\0b'), 'bundle'),
  (
    'deep section',
    _edit('model', cnn=_nested(400)),
    'not a bundle',
  ),
  ('section of words', _edit(model='cnn'), 'not a bundle'),
  ('later version', _edit(format_version=99), 'not a bundle of version'),
  ('temperature in words', _edit(temperature='hot'), 'not a bundle'),
  (
    'another model',
    _edit('model', name='lstm'),
    'weights do not fit',
  ),
  ('unknown model', _edit('model', name='svm'), 'config.model.name'),
  ('unknown field', _edit('model', surprise=1), 'not a bundle'),
  ('no section', _edit(features=None), 'not a bundle'),
  (
    'negative size',
    _edit('features', num_bands=-1),
    'features.num_bands',
  ),
  (
    'absent size',
    _edit('features', num_bands=None),
    'features.num_bands',
  ),
  ('window of 10^11', _edit('windows', num_frames=10**11), 'num_frames'),
  (
    'LSTM of 10^9',
    _edit('model', name='lstm', lstm={'hidden_size': 10**9}),
    'bundle|do not fit',
  ),
  ('half of it', _write_json('{'), 'cannot be read'),
  ('a list', _write_json('[]'), 'not a bundle'),
  ('deep', _write_json('[' * 100_000), 'cannot be read'),
  ('2 MB', _write_json(' ' * 2_000_000), 'over 1048576 bytes'),
  ('not text', lambda f: (f / 'bundle.json').write_bytes(b'\xff'), 'cannot be'),
  ('none', lambda f: (f / 'bundle.json').unlink(), 'no such file; train first'),
  ('a pipe', _instead(os.mkfifo), 'bundle.json: not a file'),
  ('endless', _instead(lambda p: p.symlink_to('/dev/zero')), 'not a file'),
  ('weights elsewhere', _weights_link('/etc/passwd'), 'a link to outside'),
  ('endless weights', _weights_link('/dev/zero'), 'a link to outside'),
  ('many layers', _edit('model', dense={'sizes': [1] * 8000}), 'at most 64'),
  ('NaN temperature', _edit(temperature=float('nan')), 'must be positive and'),
  ('no temperature', _edit(temperature=0), 'must be positive and finite'),
  ('equal genres', _edit(genres=['a'] * 10), 'must be different names'),
  ('genres as one word', _edit(genres='abcdefghij'), 'not a list of names'),
  ('escape sequence', _edit(genres=['\x1b[2J', *'bcdefghij']), 'must be diff'),
  ('NaN weights', _other_weights(lambda x: x * np.nan), 'not finite 32-bit'),
  (
    'int8 weights',
    _other_weights(lambda x: x.astype('i1')),
    'not finite 32-bit',
  ),
  ('no deviation', _other_weights(np.zeros_like), 'bands/std: not positive'),
  ('FFT that fills memory', _fft, 'do not fit into'),
  ('a folder', lambda f: shutil.rmtree(f) or f.mkdir(), 'no such file'),
]


@pytest.mark.parametrize(('damage', 'message'), **table(BUNDLES))
def test_hostile_bundle_raises_a_data_error(damage, message, bundle):
  bundles.load(bundle)
  damage(bundle)
  tracemalloc.start()
  with pytest.raises(DataError, match=message):
    bundles.load(bundle)
  assert tracemalloc.get_traced_memory()[1] < 16e6
  tracemalloc.stop()
