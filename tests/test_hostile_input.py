"""What comes from outside: odd, broken or hostile, one line each.

Each thing is used, or refused with a message that names it; nothing crashes,
and memory does not grow with what a file claims.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
import sys
import tracemalloc

import jax
import numpy as np
import pytest
import safetensors.numpy

from mgc_jax import bundle as bundles
from mgc_jax.bundle import Bundle
from mgc_jax.config import validate
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.splits import make_splits
from mgc_jax.datasets.track import Track, read_manifest
from mgc_jax.errors import ConfigError, DataError
from mgc_jax.models import create_model
from mgc_jax.sweep.runner import load_config
from tests.conftest import write_tone
from tests.hostile_audio import AUDIO
from tests.processes import ROOT, Process, unprivileged


def _table(cases):
  """Cases as pytest wants them: the first column is their names."""
  return {
    'argvalues': [case[1:] for case in cases],
    'ids': [case[0] for case in cases],
  }


# --- audio


@pytest.mark.parametrize(('make', 'message'), **_table(AUDIO))
def test_audio(make, message, tmp_path, tiny_config):
  make(tmp_path / 'x.mp3')
  track = Track('t', str(tmp_path / 'x.mp3'), 'jazz')
  tracemalloc.start()
  wanted = (
    pytest.raises(DataError, match=message)
    if message
    else contextlib.nullcontext()
  )
  with wanted:
    (excerpt,) = excerpts_of(track, tiny_config.features, 1.0)
    assert np.isfinite(excerpt.frames).all() and len(excerpt.frames) > 60
  peak_bytes = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak_bytes < 16e6


# --- ready-made frames


def _saved(array, allow_pickle=False):
  return lambda path: np.save(path, array, allow_pickle=allow_pickle)


def _header(text):
  data = text.encode().ljust(117) + b'\n'
  magic = b'\x93NUMPY\x01\x00' + len(data).to_bytes(2, 'little')
  return lambda path: path.write_bytes(magic + data + bytes(100))


def _claims(shape):
  return _header(
    f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
  )


class _Bomb:
  """Makes a folder when it is unpickled."""

  def __init__(self, path):
    self._path = str(path)

  def __reduce__(self):
    return os.mkdir, (self._path,)


def _bomb(path):
  np.save(path, np.array([_Bomb(path.with_name('bomb'))]), allow_pickle=True)


def _long_header(path):
  with path.open('wb') as file:
    file.write(b'\x93NUMPY\x02\x00' + (10**9).to_bytes(4, 'little'))
    file.truncate(2 * 10**9)  # no disk is used for them


def _half_of_frames(path):
  np.save(path, np.zeros((100, 20), np.float32))
  path.write_bytes(path.read_bytes()[:4000])


FRAMES = [
  ('good', _saved(np.ones((50, 20), np.float32)), None),
  ('pickled objects', _bomb, 'no whole .npy'),
  ('object dtype', _saved(np.array([{}], object), True), 'no whole .npy'),
  ('wrong bands', _saved(np.zeros((50, 21), 'f4')), 'shape .50, 21.*num_bands'),
  ('wrong rank', _saved(np.zeros(50, 'f4')), 'shape .50,.'),
  ('integers', _saved(np.zeros((50, 20), int)), 'not floating-point'),
  ('complex', _saved(np.zeros((50, 20), complex)), 'not floating-point'),
  ('NaN', _saved(np.full((50, 20), np.nan)), 'NaN'),
  ('too large for float16', _saved(np.full((50, 20), 1e6)), 'too large'),
  ('no frame', _saved(np.zeros((0, 20))), 'too short'),
  ('5 frames', _saved(np.zeros((5, 20))), 'too short: 0.16 s'),
  ('unfinished header', _header("{'descr': '<f4', 'shape': (1,"), 'no whole'),
  ('negative shape', _claims('(-3, 20)'), 'no whole .npy'),
  ('shape of 10^25', _claims('(10**25, 20)'), 'no whole .npy'),
  ('terabytes', _claims('(10**10, 20)'), 'no whole .npy'),
  ('no dict', _header('{[]: 1}'), 'no whole .npy'),
  ('code', _header("__import__('os').abort()"), 'no whole'),
  ('truncated', _half_of_frames, 'no whole .npy array'),
  ('header of a gigabyte', _long_header, 'header over 4096'),
  ('0 bytes', lambda p: p.write_bytes(b''), 'empty'),
  ('text', lambda p: p.write_text('text'), 'no whole .npy array'),
  ('nothing', lambda p: None, 'cannot be opened'),
  ('directory', lambda p: p.mkdir(), 'cannot be opened|no whole'),
]


@pytest.mark.parametrize(('make', 'message'), **_table(FRAMES))
def test_frames(make, message, tmp_path, tiny_config):
  make(tmp_path / 'x.npy')
  track = Track('t', str(tmp_path / 'x.npy'), 'jazz')
  if message is None:
    assert len(excerpts_of(track, tiny_config.features, 1.0)) == 1
    return
  with pytest.raises(DataError, match=message):
    excerpts_of(track, tiny_config.features, 1.0)
  assert not (tmp_path / 'bomb').exists()


# --- manifests

_H = 'path,track_id,genre,artist,split\n'
_ROW = 'a,t1,jazz,,\n'
MANIFESTS = [
  ('good', _H + _ROW, None),
  ('byte-order mark', ('\ufeff' + _H + _ROW), None),
  ('CRLF', (_H + _ROW).replace('\n', '\r\n'), None),
  ('quotes', _H + '"b, ""c"".wav","t,1",jazz,"",train\n', None),
  ('no last line end', _H + _ROW.strip(), None),
  ('nothing', '', 'line 1: no column path, track_id, genre'),
  ('no column', 'path,genre\na,jazz\n', 'line 1: no column track_id'),
  ('no row', _H, 'lists no track'),
  (
    'unknown genre',
    _H + 'a,t1,polka,,\n',
    'unknown genre polka; known',
  ),
  ('no genre', _H + 'a,t1,,,\n', 'line 2: genre is empty'),
  ('same id', _H + _ROW + 'b,t1,jazz,,\n', 'line 3: track_id t1 .* line 2'),
  ('same path', _H + _ROW + 'a,t2,rock,,\n', 'line 3: path .*already, as jazz'),
  ('same file', _H + _ROW + './b/../a,t2,rock,,\n', 'line 3: path .*/a stands'),
  ('line end in a cell', _H + 'a,"t\n1",jazz,,\n', 'holds control characters'),
  ('escape sequence', _H + 'a,t\x1b[2J,jazz,,\n', 'holds control characters'),
  ('zero byte', _H + 'a,t1\0,jazz,,\n', 'line'),
  (
    'out of the root',
    _H + '../x,t1,jazz,,\n',
    'path ../x leads out of',
  ),
  ('absolute', _H + '/etc/passwd,t1,jazz,,\n', 'path /etc/passwd leads out of'),
  ('link out of the root', _H + 'out,t1,jazz,,\n', 'path out leads out of'),
  ('loop of links', _H + 'loop,t1,jazz,,\n', 'line 2: '),
  ('unknown side', _H + 'a,t1,jazz,,dev\n', 'line 2: split dev: must be train'),
  (
    'more cells',
    _H + 'a,t1,jazz,,train,9\n',
    'line 2: more cells than',
  ),
  ('open quote', _H + '"a,t1,jazz,,train\n', 'line 1: unexpected end'),
  ('latin-1', (_H + 'pathé,t1,jazz,,\n').encode('latin-1'), 'not UTF-8'),
  ('UTF-16', (_H + _ROW).encode('utf-16'), 'not UTF-8'),
  ('10 MB cell', _H + f'a,{"x" * 10**7},jazz,,\n', 'line 1: longer than'),
  ('10 MB of commas', _H + ',' * 10**7, 'line 1: longer than'),
  ('10 MB quoted', _H + '"' + 'x\n' * 5 * 10**6, 'line .*field larger than'),
  ('long path', _H + f'{"x" * 9999},t1,jazz,,\n', None),
]


@pytest.mark.parametrize(('content', 'message'), **_table(MANIFESTS))
def test_manifest(content, message, tmp_path):
  (tmp_path / 'root').mkdir()
  (tmp_path / 'root' / 'out').symlink_to(tmp_path)
  (tmp_path / 'root' / 'loop').symlink_to(tmp_path / 'root' / 'loop')
  path = tmp_path / 'm.csv'
  path.write_bytes(content.encode() if isinstance(content, str) else content)
  del content
  genres = ('jazz', 'rock')
  if message is None:
    (track,) = read_manifest(path, tmp_path / 'root', genres)
    assert track.genre == 'jazz' and track.track_id in ('t1', 't,1')
    return
  tracemalloc.start()
  with pytest.raises(DataError, match=f'm.csv.*{message}'):
    read_manifest(path, tmp_path / 'root', genres)
  assert tracemalloc.get_traced_memory()[1] < 16e6
  tracemalloc.stop()


# --- bundles

GENRES = tuple('abcdefghij')


@pytest.fixture
def bundle(tiny_config, tmp_path):
  """A folder with a good bundle."""
  shape = (1, 1, tiny_config.windows.num_frames, 20)
  variables = create_model(tiny_config).init(jax.random.key(0), np.zeros(shape))
  bands = np.zeros(20, np.float32), np.ones(20, np.float32)
  bundles.save(Bundle(tiny_config, GENRES, variables, *bands), tmp_path)
  return tmp_path


def _edit(section=None, **changes):
  def edit(folder):
    path = folder / 'bundle.json'
    meta = json.loads(path.read_text())
    (meta[section] if section else meta).update(changes)
    path.write_text(json.dumps(meta))

  return edit


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
  ('path upwards', _edit(weights='../../etc/passwd'), 'lie elsewhere'),
  ('absolute path', _edit(weights='/etc/passwd'), 'lie elsewhere'),
  ('a link upwards', _linked, 'lie elsewhere'),
  (
    'the folder itself',
    _edit(weights='..'),
    'elsewhere',
  ),
  ('zero byte in a path', _edit(weights='a\0b'), 'bundle'),
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
  ('weights elsewhere', _weights_link('/etc/passwd'), 'a link to elsewhere'),
  ('endless weights', _weights_link('/dev/zero'), 'a link to elsewhere'),
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


@pytest.mark.parametrize(('damage', 'message'), **_table(BUNDLES))
def test_bundle(damage, message, bundle):
  bundles.load(bundle)
  damage(bundle)
  tracemalloc.start()
  with pytest.raises(DataError, match=message):
    bundles.load(bundle)
  assert tracemalloc.get_traced_memory()[1] < 16e6
  tracemalloc.stop()


# --- configurations

CONFIGS = [
  ('unknown field', ['--config.train.speed=9'], 'config: no field speed'),
  ('unknown section', ['--config.trian.num_epochs=9'], 'no field trian'),
  ('word for a number', ['--config.train.num_epochs=many'], 'num_epochs'),
  ('fraction for a number', ['--config.train.batch_size=2.5'], 'batch_size'),
  ('negative', ['--config.train.batch_size=-4'], 'batch_size=-4: must be'),
  ('zero', ['--config.features.hop_samples=0'], 'hop_samples=0: must be'),
  ('NaN', ['--config.train.learning_rate=nan'], 'learning_rate=nan: must be'),
  ('infinite', ['--config.features.excerpt_s=inf'], 'excerpt_s=inf: must be'),
  ('enormous', ['--config.features.fft_samples=10000000000'], 'fft_samples='),
  (
    'window longer than excerpt',
    ['--config.windows.num_frames=9999'],
    'num_frames=9999: longer than an excerpt',
  ),
  (
    'band over half the rate',
    ['--config.features.max_frequency_hz=99999.0'],
    'over half of config.features.sample_rate_hz',
  ),
  (
    'a fold of too many',
    ['--config.data.num_folds=5', '--config.data.fold=5'],
    'fold=5: must be under config.data.num_folds=5',
  ),
  (
    'nothing left to train on',
    ['--config.data.valid_fraction=0.5', '--config.data.test_fraction=0.5'],
    'nothing is left for training',
  ),
  (
    'parts that do not divide',
    ['--config.train.accumulate_steps=3'],
    'accumulate_steps=3: must divide config.train.batch_size',
  ),
  (
    'frozen at random',
    ['--config.train.freeze_body=True'],
    'set config.train.init_from',
  ),
  (
    'lists of different lengths',
    ['--config.model.cnn.filters=(8,)'],
    'needs one number for each of config.model.cnn.filters',
  ),
  ('a filter of words', ["--config.model.cnn.filters=('a','b')"], 'filters'),
]


@pytest.mark.parametrize(('overrides', 'message'), **_table(CONFIGS))
def test_config(overrides, message):
  with pytest.raises(ConfigError, match=message):
    validate(load_config(str(ROOT / 'configs' / 'smoke.py'), tuple(overrides)))


@pytest.mark.parametrize('field', ['train.batch_size', 'features.excerpt_s'])
def test_config_without_a_value(field, tiny_config):
  tiny_config.update_from_flattened_dict({field: None})
  with pytest.raises(ConfigError, match=f'config.{field}=None: must be'):
    validate(tiny_config)


def test_more_folds_than_artists(folder_config):
  folder_config.data.num_folds = 20
  with pytest.raises(ConfigError, match='=20: more than the 12 groups'):
    make_splits(prepare(folder_config), folder_config)


# --- a folder of all of it, as a person runs it


def _odd_folder(root):
  """A genre whose names and files are odd, and one that is in order."""
  for i in range(12):
    write_tone(root / 'rock' / f'{i}.wav', frequency_hz=200.0 + 13 * i)
  folder = root / 'jazz'
  for i, name in enumerate([b'a b.wav', b'new\nline.wav', b'caf\xe9.wav']):
    plain = write_tone(folder / 'plain.wav', frequency_hz=700.0 + 31 * i)
    os.rename(plain, os.fsencode(folder) + b'/' + name)
  write_tone(root.parent / 'outside.wav')
  (folder / 'out.wav').symlink_to(root.parent / 'outside.wav')
  write_tone(folder / 'locked.wav').chmod(0)
  (folder / 'x.mp3').mkdir()
  (folder / 'gone.mp3').symlink_to('nowhere.mp3')
  (folder / 'text.mp3').write_text('no music')


def test_a_folder_of_odd_files(tmp_path):
  """What can be used is; each other file is named with the reason."""
  _odd_folder(tmp_path / 'music')
  command = [
    *unprivileged(),
    sys.executable,
    '-m',
    'mgc_jax.datasets.prepare',
    f'--config={ROOT}/configs/smoke.py',
    '--config.data.source=folder',
    f'--config.data.root={tmp_path}/music',
    f'--config.data.prepared_dir={tmp_path}/prepared',
  ]
  strict = Process(command)
  assert strict.wait() == 1
  assert 'error: 5 of 20 tracks could not be read' in strict.said
  assert '--config.data.allow_missing' in strict.said
  process = Process([*command, '--config.data.allow_missing'])
  assert process.wait() == 0, process.said
  assert 'Traceback' not in strict.said + process.said
  (path,) = tmp_path.glob('prepared/**/left_out.csv')
  with path.open(newline='') as file:
    rows = {row['track_id']: row['reason'] for row in csv.DictReader(file)}
  assert {name: reason.split(':')[0] for name, reason in rows.items()} == {
    'jazz/gone.mp3': 'no such file',
    'jazz/locked.wav': 'cannot be opened',
    'jazz/out.wav': f'a link out of {tmp_path}/music; copy its file, or list '
    'it in a manifest',
    'jazz/text.mp3': 'not audio',
    'jazz/x.mp3': 'not a file',
  }
  with path.with_name('index.csv').open(newline='') as file:
    used = {row['track_id'] for row in csv.DictReader(file)}
  odd = {name for name in used if name.startswith('jazz')}
  assert odd == {'jazz/a b.wav', 'jazz/new\\nline.wav', 'jazz/caf\\xe9.wav'}


def test_fewer_tracks_than_sides(tmp_path):
  for genre, frequency_hz in (('jazz', 300.0), ('rock', 500.0)):
    write_tone(tmp_path / 'm' / genre / '0.wav', frequency_hz=frequency_hz)
  process = Process(
    [
      sys.executable,
      '-m',
      'mgc_jax.main',
      f'--config={ROOT}/configs/smoke.py',
      '--config.data.source=folder',
      f'--config.data.root={tmp_path}/m',
      f'--workdir={tmp_path}/run',
    ]
  )
  assert process.wait() in (1, 2)
  message = process.said.splitlines()[-1]
  assert message.startswith('error: ') and 'config.data' in message, message
