"""Unusual, broken and hostile input, one line for each case.

Each input is used, or rejected with a message that names it. Nothing crashes,
and memory does not grow with the sizes that a file states.
"""

import contextlib
import csv
import os
import re
import sys
import tracemalloc

import numpy as np
import pytest

from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import DataError
from tests.commands import run_command
from tests.conftest import table, write_tone
from tests.hostile_audio import AUDIO, TRUNCATED
from tests.processes import ROOT, Process, unprivileged

# --- audio


_SKIPPED = [(name, make, 'truncated') for name, make in TRUNCATED]


@pytest.mark.parametrize(('make', 'message'), **table(AUDIO + _SKIPPED))
def test_hostile_audio_is_used_or_rejected(
  make, message, tmp_path, tiny_config
):
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


# --- precomputed frames


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
  """Creates a folder when it is unpickled."""

  def __init__(self, path):
    self._path = str(path)

  def __reduce__(self):
    return os.mkdir, (self._path,)


def _bomb(path):
  np.save(path, np.array([_Bomb(path.with_name('bomb'))]), allow_pickle=True)


def _long_header(path):
  with path.open('wb') as file:
    file.write(b'\x93NUMPY\x02\x00' + (10**9).to_bytes(4, 'little'))
    file.truncate(2 * 10**9)  # a sparse file


def _half_of_frames(path):
  np.save(path, np.zeros((100, 20), np.float32))
  path.write_bytes(path.read_bytes()[:4000])


FRAMES = [
  ('good', _saved(np.ones((50, 20), np.float32)), None),
  ('pickled objects', _bomb, 'not a complete .npy'),
  ('object dtype', _saved(np.array([{}], object), True), 'not a complete .npy'),
  ('wrong bands', _saved(np.zeros((50, 21), 'f4')), 'shape .50, 21.*num_bands'),
  ('wrong rank', _saved(np.zeros(50, 'f4')), 'shape .50,.'),
  ('integers', _saved(np.zeros((50, 20), int)), 'not floating-point'),
  ('complex', _saved(np.zeros((50, 20), complex)), 'not floating-point'),
  ('NaN', _saved(np.full((50, 20), np.nan)), 'NaN'),
  ('too large for float16', _saved(np.full((50, 20), 1e6)), 'too large'),
  ('no frame', _saved(np.zeros((0, 20))), 'too short'),
  ('5 frames', _saved(np.zeros((5, 20))), 'too short: 0.16 s'),
  (
    'unfinished header',
    _header("{'descr': '<f4', 'shape': (1,"),
    'not a complete',
  ),
  ('negative shape', _claims('(-3, 20)'), 'not a complete .npy'),
  ('shape of 10^25', _claims('(10**25, 20)'), 'not a complete .npy'),
  ('terabytes', _claims('(10**10, 20)'), 'not a complete .npy'),
  ('no dict', _header('{[]: 1}'), 'not a complete .npy'),
  ('code', _header("__import__('os').abort()"), 'not a complete'),
  ('truncated', _half_of_frames, 'not a complete .npy array'),
  ('header of a gigabyte', _long_header, 'header exceeds 4096'),
  ('0 bytes', lambda p: p.write_bytes(b''), 'empty'),
  ('text', lambda p: p.write_text('text'), 'not a complete .npy array'),
  ('nothing', lambda p: None, 'cannot be opened'),
  ('directory', lambda p: p.mkdir(), 'cannot be opened|not a complete'),
]


@pytest.mark.parametrize(('make', 'message'), **table(FRAMES))
def test_hostile_frames_are_used_or_rejected(
  make, message, tmp_path, tiny_config
):
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
  ('semicolons', (_H + _ROW).replace(',', ';'), None),
  ('tabs', (_H + _ROW).replace(',', '\t'), None),
  ('carriage returns', (_H + _ROW).replace('\n', '\r'), None),
  ('spaces', (_H + _ROW).replace(',', ' , '), None),
  ('capitals', _H.upper() + 'a,t1,JAZZ,,\n', None),
  ('empty rows', _H + ',,,,\n\n' + _ROW + ',,,,\n', None),
  ('latin-1', (_H + 'pathé,t1,jazz,,\n').encode('latin-1'), None),
  ('UTF-16', (_H + _ROW).encode('utf-16'), None),
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
  ('same path', _H + _ROW + 'a,t2,rock,,\n', 'line 3: path .*line 2, as jazz'),
  ('same file', _H + _ROW + './b/../a,t2,rock,,\n', 'line 3: path .*/a is alr'),
  ('line end in a cell', _H + 'a,"t\n1",jazz,,\n', 'control characters'),
  ('escape sequence', _H + 'a,t\x1b[2J,jazz,,\n', 'control characters'),
  ('zero byte', _H + 'a,t1\0,jazz,,\n', 'line'),
  (
    'out of the root',
    _H + '../x,t1,jazz,,\n',
    'path ../x is outside',
  ),
  ('absolute', _H + '/etc/passwd,t1,jazz,,\n', 'path /etc/passwd is outside'),
  ('link out of the root', _H + 'out,t1,jazz,,\n', 'path out is outside'),
  ('loop of links', _H + 'loop,t1,jazz,,\n', 'line 2: '),
  ('backslashes', _H + r'..\x,t1,jazz,,', r'path ..\\x is outside'),
  ('link and backslash', _H + r'out\m.csv,t1,jazz,,', 'is outside'),
  ('drive of Windows', _H + r'C:\m.csv,t1,jazz,,', 'absolute Windows path'),
  ('Windows out of the root', _H + r'C:\..\m.csv,t1,jazz,,', 'is outside'),
  (
    'unknown split',
    _H + 'a,t1,jazz,,dev\n',
    'line 2: split dev: must be train',
  ),
  (
    'more cells',
    _H + 'a,t1,jazz,,train,9\n',
    'line 2: more cells than',
  ),
  ('open quote', _H + '"a,t1,jazz,,train\n', 'line 2: unexpected end'),
  ('no text', _H.encode() + bytes(range(256)), 'not text in UTF-8'),
  ('half of UTF-16', (_H + _ROW).encode('utf-16')[:-1], 'not text in UTF-8'),
  ('UTF-16 without a mark', (_H + _ROW).encode('utf-16-le'), 'no column'),
  ('column twice', 'path,track_id,genre,Path\n', 'line 1: .*is called path;'),
  (
    'escape sequence in the header',
    'path,track_id,genre,\x1b[2J,\x1b[2J\n',
    r'line 1: .*is called \\x1b',
  ),
  ('10 MB cell', _H + f'a,{"x" * 10**7},jazz,,\n', 'line 2: longer than'),
  (
    '10 MB cell of UTF-16',
    (_H + f'a,{"x" * 5 * 10**6},jazz,,\n').encode('utf-16'),
    'line 2: longer than',
  ),
  ('10 MB header', 'x' * 10**7, 'line 1: longer than'),
  ('header of 100,000 columns', 'a,' * 100_000, 'line 1: no column'),
  ('10 MB of commas', _H + ',' * 10**7, 'line 2: longer than'),
  ('10 MB quoted', _H + '"' + 'x\n' * 5 * 10**6, 'line .*field larger than'),
  ('long path', _H + f'{"x" * 9999},t1,jazz,,\n', None),
]


@pytest.mark.parametrize(('content', 'message'), **table(MANIFESTS))
def test_hostile_manifest_is_read_or_rejected(content, message, tmp_path):
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


# --- a folder with all kinds of files


def _odd_folder(root):
  """Creates a genre with unusual names and files, and an ordinary one."""
  for i in range(12):
    write_tone(root / 'rock' / f'{i}.wav', frequency_hz=200.0 + 13 * i)
  folder = root / 'jazz'
  for i, name in enumerate([b'a b.wav', b'new\nline.wav', b'caf\xe9.wav']):
    plain = write_tone(folder / 'plain.wav', frequency_hz=700.0 + 31 * i)
    os.rename(plain, os.fsencode(folder) + b'/' + name)
  write_tone(root.parent / 'outside.wav')
  (folder / 'out.wav').symlink_to(root.parent / 'outside.wav')
  write_tone(folder / 'locked.wav').chmod(0)
  os.mkfifo(folder / 'x.mp3')  # reading it would block
  (folder / 'gone.mp3').symlink_to('nowhere.mp3')
  (folder / 'text.mp3').write_text('no music')


def test_malformed_files_of_a_folder_are_reported(tmp_path):
  """Usable files are used; the others are listed with the reason."""
  _odd_folder(tmp_path / 'music')
  words = [
    'mgc_jax',
    'prepare',
    f'--config={ROOT}/configs/smoke.py',
    '--config.data.source=folder',
    f'--config.data.root={tmp_path}/music',
    f'--config.data.prepared_dir={tmp_path}/prepared',
  ]
  strict = run_command(*words, f'--config.data.prepared_dir={tmp_path}/strict')
  assert strict.returncode == 1
  # Root, which may run this, can also read the one without permissions.
  assert re.search('error: [45] of 20 tracks could not be read', strict.stderr)
  assert '--config.data.allow_missing' in strict.stderr
  words.append('--config.data.allow_missing')
  process = Process([*unprivileged(), sys.executable, '-m', *words])
  assert process.wait() == 0, process.output
  assert 'Traceback' not in strict.stderr + process.output
  (path,) = tmp_path.glob('prepared/**/left_out.csv')
  with path.open(newline='') as file:
    rows = {row['track_id']: row['reason'] for row in csv.DictReader(file)}
  assert {name: reason.split(':')[0] for name, reason in rows.items()} == {
    'jazz/gone.mp3': 'no such file',
    'jazz/locked.wav': 'cannot be opened',
    'jazz/out.wav': f'a link out of {tmp_path}/music; copy the file, or link '
    'to its folder',
    'jazz/text.mp3': 'not audio',
    'jazz/x.mp3': 'not a file',
  }
  with path.with_name('index.csv').open(newline='') as file:
    used = {row['track_id'] for row in csv.DictReader(file)}
  odd = {name for name in used if name.startswith('jazz')}
  assert odd == {'jazz/a b.wav', 'jazz/new\\nline.wav', 'jazz/caf\\xe9.wav'}


def test_fewer_tracks_than_splits_are_reported(tmp_path):
  for genre, frequency_hz in (('jazz', 300.0), ('rock', 500.0)):
    write_tone(tmp_path / 'm' / genre / '0.wav', frequency_hz=frequency_hz)
  done = run_command(
    'mgc_jax.main',
    f'--config={ROOT}/configs/smoke.py',
    '--config.data.source=folder',
    f'--config.data.root={tmp_path}/m',
    f'--workdir={tmp_path}/run',
  )
  assert done.returncode in (1, 2)
  message = done.stderr.splitlines()[-1]
  assert message.startswith('error: ') and 'config.data' in message, message
