"""The collection commands, run as processes on real files."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import mutagen
import numpy as np
import pytest

from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.inference.classifier import Classifier
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError
from tests.commands import run_command
from tests.conftest import write_tone
from tests.processes import Process

COMMAND = [sys.executable, '-m', 'mgc_jax.collection']


@pytest.fixture
def index(tmp_path):
  return tmp_path / 'index.sqlite'


@pytest.fixture
def model(bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  return tmp_path / 'model'


def _run(index, *args):
  return run_command('mgc_jax.collection', *args, f'--index={index}')


def _output(index, *args, code=0):
  """Returns what a command prints on standard output and standard error."""
  done = _run(index, *args)
  assert done.returncode == code, done.stdout + done.stderr
  assert 'Traceback' not in done.stderr
  return done.stdout + done.stderr


def test_index_report_organise_playlist_and_undo_work_in_sequence(
  model, index, music_folder, tmp_path
):
  (music_folder / 'jazz' / 'broken.mp3').write_text('no music')
  output = _output(index, 'index', music_folder, f'--model={model}')
  assert '12 indexed, 0 unchanged, 0 removed, 1 failed' in output
  assert 'broken.mp3: not audio' in output
  (music_folder / 'jazz' / 'broken.mp3').unlink()
  (music_folder / 'rock' / '5.wav').unlink()
  write_tone(music_folder / 'rock' / '0.wav', 3.0)
  output = _output(index, 'index', music_folder)
  assert '1 indexed, 10 unchanged, 2 removed, 0 failed' in output

  plot = tmp_path / 'report.png'
  output = _output(index, 'report', f'--plot={plot}', '--least=2')
  assert 'all        11   0.01' in output and plot.stat().st_size > 5000

  to = tmp_path / 'sorted'
  options = (f'--to={to}', '--move', '--min_probability=0')
  output = _output(index, 'organise', *options)
  assert 'move of 11 files; nothing was changed' in output and not to.exists()
  _output(index, 'organise', *options, '--apply')
  assert not list(music_folder.rglob('*.wav'))
  (genre,) = {path.relative_to(to).parts[0] for path in to.rglob('*.wav')}
  assert sorted(x.name for x in (to / genre / 'jazz').iterdir()) == [
    f'{i}.wav' for i in range(6)
  ]
  assert '11 are already there' in _output(
    index, 'organise', *options, '--apply'
  )

  output = _output(index, 'playlist', genre, '--min_probability=0')
  assert output.startswith('#EXTM3U\n#EXTINF:')
  assert str(to / genre / 'rock' / '0.wav') in output.splitlines()

  output = _output(index, 'undo', f'--to={to}')
  assert 'nothing was changed' in output and not list(
    music_folder.rglob('*.wav')
  )
  _output(index, 'undo', f'--to={to}', '--apply')
  assert len(list(music_folder.rglob('*.wav'))) == 11
  assert not list(to.rglob('*'))
  output = _output(index, 'index', music_folder)
  assert '0 indexed, 11 unchanged, 0 removed' in output


def test_tag_writes_genres_and_similar_finds_other_songs(
  model, index, tmp_path
):
  music = tmp_path / 'music'
  for i, ending in enumerate(('mp3', 'flac', 'ogg', 'wav', 'opus')):
    write_tone(
      music / f'{i}.{ending}', rate_hz=24000, frequency_hz=300.0 + 90 * i
    )
  tagged = mutagen.File(music / '0.mp3', easy=True)
  tagged.add_tags()
  tagged.update(genre='Polka', artist='Ann', title='One')
  tagged.save()
  _output(index, 'index', music, f'--model={model}')
  with Index(index) as opened:
    (one,) = [e for e in opened.entries() if e.path.endswith('0.mp3')]
  assert (one.artist, one.title) == ('Ann', 'One')
  before = {path: path.read_bytes() for path in music.iterdir()}
  options = ('tag', '--min_probability=0')
  assert '4 to be tagged' in _output(index, *options)
  assert before == {path: path.read_bytes() for path in music.iterdir()}
  output = _output(index, *options, '--apply')
  assert '4 tagged, 1 have a genre, 0 uncertain, 0 failed' in output
  genre = mutagen.File(music / '1.flac', easy=True)['genre'][0]
  assert genre in 'abcdefghij'
  assert str(mutagen.File(music / '3.wav').tags['TCON']) == genre
  assert mutagen.File(music / '0.mp3', easy=True)['genre'] == ['Polka']
  assert '(was Polka)' in _output(index, *options, '--replace', '--apply')
  # Files whose tags were written are not classified again.
  assert '0 indexed, 5 unchanged' in _output(index, 'index', music)

  output = _output(index, 'similar', music / '1.flac', '-k', '3')
  assert output.count('\n') == 3 and '1.flac' not in output
  new = write_tone(tmp_path / 'new.wav', frequency_hz=305.0)
  output = _output(index, 'similar', new, music / '1.flac')
  assert output.count('\n') == 4 and '1.flac' not in output
  output = _output(index, 'similar', tmp_path / 'gone.wav', code=1)
  assert 'gone.wav: no such file' in output


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    ((), 'required: COMMAND'),
    (('sort',), "invalid choice: 'sort' (choose from"),
    (('index',), 'index: specify a folder'),
    (('index', 'missing'), 'missing: not a folder'),
    (('report',), 'does not exist; create it'),
    (('report', '--plot=.'), '--plot=.: a folder; specify a file'),
    (('report', '--apply'), 'unknown flag: --apply'),
    (('organise', '--to=x', '--copy', '--move'), 'not allowed with'),
    (('organise',), 'required: --to'),
    (('organise', '--to='), '--to: specify the folder'),
    (('playlist',), 'specify a genre, or --like'),
    (('similar',), 'required: SONG'),
    (('similar', 'a.mp3'), 'does not exist'),
    (('undo',), 'does not exist'),
    (('undo', 'music'), 'unexpected word: music'),
    (('forget',), 'required: DIR'),
    (('forget', 'music'), 'does not exist'),
    (('tag', '--strict'), 'unknown flag: --strict'),
    (('report', '--moved=a=b'), 'unknown flag: --moved=a=b'),
    (('index', '--moved=a=b'), 'does not exist'),
    (('organise', '--to=x', '--by=mood'), 'by'),
  ],
)
def test_wrong_usage_is_rejected_with_a_reason(index, args, message):
  assert message in _output(index, *args, code=2)
  assert not index.exists() or 'index' in args


def test_a_renamed_folder_keeps_its_predictions(model, index, music_folder):
  _output(index, 'index', music_folder, f'--model={model}')
  audio = music_folder.rename(music_folder.with_name('audio'))
  output = _output(index, 'index', music_folder, code=2)
  assert 'not a folder; the index keeps 12 tracks of it' in output
  assert (
    f'--moved {music_folder}=NEW' in output and 'collection forget' in output
  )
  (audio / 'jazz').rename(audio / 'swing')
  output = _output(index, 'index', f'--moved={music_folder}={audio}')
  assert f'12 tracks of {music_folder} are now in {audio}' in output
  assert '6 indexed, 6 unchanged, 0 removed, 0 failed' in output
  assert f'{audio}/jazz: missing; the index keeps 6 tracks' in output
  output = _output(index, 'forget', audio / 'jazz')
  assert (
    f'6 tracks of {audio}/jazz removed from the index; no file was changed'
    in output
  )
  output = _output(
    index, 'index', audio, f'--moved={audio}/swing={audio}/swing', '--strict'
  )
  assert output.count('0 indexed, 6 unchanged') == 1
  assert output.count('0 indexed, 12 unchanged') == 1


def test_a_truncated_file_is_a_warning_or_with_strict_a_failure(
  model, index, tmp_path
):
  path = write_tone(tmp_path / 'music' / 'a.wav', 10.0)
  write_tone(tmp_path / 'music' / 'b.wav', 3.0)
  os.truncate(path, path.stat().st_size // 2)
  words = ('index', tmp_path / 'music', f'--model={model}')
  output = _output(index, *words)
  assert 'a.wav: warning: truncated' in output and 'b.wav' not in output
  assert '2 indexed, 0 unchanged, 0 removed, 0 failed' in output
  with Index(index) as opened:
    assert opened.find(str(path)).duration_s == pytest.approx(5.0, abs=0.1)
  strict = index.with_name('strict')
  output = _output(strict, *words, '--strict', code=1)
  assert 'a.wav: truncated' in output
  assert '1 indexed, 0 unchanged, 0 removed, 1 failed' in output
  with Index(strict) as opened:
    assert opened.find(str(path)).failure.startswith('truncated')
  assert 'a.wav: truncated' in _output(strict, 'report')
  # A failed file is tried again; without --strict it gets a prediction.
  assert '1 indexed, 1 unchanged, 0 removed, 0 failed' in _output(
    strict, *words
  )


def test_a_file_that_failed_is_read_again_only_if_it_may_work_now(
  model, index, music_folder, monkeypatch
):
  broken = music_folder / 'jazz' / 'broken.mp3'
  broken.write_text('no music')
  cut = music_folder / 'rock' / '0.wav'
  os.truncate(cut, cut.stat().st_size // 2)
  words = ('index', music_folder, f'--model={model}')
  output = _output(index, *words, '--strict', code=1)
  assert '11 indexed, 0 unchanged, 0 removed, 2 failed\n' in output

  read = []
  monkeypatch.setattr(
    Classifier,
    'excerpts',
    lambda self, path, real=Classifier.excerpts: (
      read.append(path) or real(self, path)
    ),
  )
  output = _output(index, *words, '--strict', code=1)
  assert '0 indexed, 11 unchanged, 0 removed, 2 failed (2 of them bef' in output
  assert read == [] and 'broken.mp3: not audio' in _output(index, 'report')
  # Without --strict, a damaged file is classified.
  output = _output(index, *words)
  assert '1 indexed, 11 unchanged, 0 removed, 1 failed (1 of them bef' in output
  assert read == [str(cut)]
  assert '1 failed\n' in _output(index, *words, '--retry')
  assert read == [str(cut), str(broken)]
  write_tone(music_folder / 'new.wav').replace(broken)
  assert '1 indexed, 12 unchanged, 0 removed, 0 failed' in _output(
    index, *words
  )


def test_a_file_that_needs_ffmpeg_is_read_again_once_it_is_installed(
  model, index, tmp_path, monkeypatch
):
  song = tmp_path / 'music' / 'a.m4a'
  song.parent.mkdir()
  encode = ('ffmpeg', '-v', 'error', '-f', 'lavfi', '-i', 'sine=d=3', song)
  if not shutil.which('ffmpeg'):
    pytest.skip('ffmpeg is not installed')
  subprocess.run(encode, check=True)
  words = ('index', song.parent, f'--model={model}')
  with monkeypatch.context() as without:
    without.setenv('PATH', '')
    assert 'install ffmpeg' in _output(index, *words)
    assert '1 of them before' in _output(index, *words)
  assert '1 indexed, 0 unchanged, 0 removed, 0 failed' in _output(index, *words)


def test_several_folders_are_indexed_by_one_command(model, index, music_folder):
  folders = [music_folder / name for name in ('jazz', 'rock')]
  output = _output(index, 'index', *folders, f'--model={model}')
  assert output.count('6 indexed, 0 unchanged') == 2
  with Index(index) as opened:
    assert [number for _, number in opened.roots()] == [6, 6]


def _entry(path, **values):
  found = os.stat(path)
  facts = {'artist': '', 'title': '', 'duration_s': 2.0}
  facts |= {'genre': 'jazz', 'probability': 0.9, **values}
  return Entry(
    str(path), str(path.parent), found.st_size, found.st_mtime_ns, **facts
  )


def _make_small_index(path, music_folder):
  """Writes an index of six tracks without running a model."""
  with Index(path, create=True) as opened:
    opened.set_model('crnn', '0' * 64, ('jazz', 'rock'))
    for i, file in enumerate(sorted((music_folder / 'jazz').iterdir())):
      opened.put(_entry(file), np.ones(2), [1.0, 0.0, i, 2.0])


def test_a_report_with_least_0_has_only_the_table(index, music_folder):
  _make_small_index(index, music_folder)
  few, none = (_output(index, 'report', f'--least={n}') for n in (1, 0))
  assert 'Least certain' in few and 'Least certain' not in none
  assert 'jazz        6' in none and none in few


def test_a_playlist_has_the_same_path_bytes_as_the_disk(index, tmp_path):
  """Tries all kinds of spaces, joiners, and bytes that are not UTF-8."""
  names = ['曲\u3000名', 'Qui\xa0?', '\U0001f468\u200d\U0001f469', 'می\u200cخ']
  names += ['so\xadft', os.fsdecode(b'latin-\xe9')]
  paths = [tmp_path / f'{name}.wav' for name in names]
  with Index(index, create=True) as opened:
    opened.set_model('crnn', '0' * 64, ('jazz', 'rock'))
    for path in paths:
      path.touch()
      opened.put(_entry(path), np.ones(2), np.ones(4))
  command = [*COMMAND, 'playlist', 'jazz', f'--index={index}']
  done = subprocess.run(command, capture_output=True, check=True)
  lines = done.stdout.removesuffix(b'\n').split(b'\n')
  assert set(lines[2::2]) == {os.fsencode(path) for path in paths}
  titles = [line.decode() for line in lines[1::2]]
  for name in names[:-1]:
    assert f'#EXTINF:2,{name}' in titles
  assert '#EXTINF:2,latin-\\udce9' in titles


def _other_version(path):
  with sqlite3.connect(path) as db:
    db.execute('PRAGMA user_version = 7')


def _other_owner(path):
  path.unlink()
  with sqlite3.connect(path) as db:
    db.execute('CREATE TABLE tracks (id)')


def _garbage(path):
  path.write_bytes(b'no index' * 1000)


def _hole(path):
  data = bytearray(path.read_bytes())
  data[4096:] = os.urandom(len(data) - 4096)
  path.write_bytes(data)


def _cut(path):
  os.truncate(path, path.stat().st_size // 2)


def _foreign_row(path):
  with sqlite3.connect(path) as db:
    db.execute("UPDATE tracks SET duration_s = 'long' WHERE id = 3")


def _foreign_embedding(path):
  with sqlite3.connect(path) as db:
    db.execute("UPDATE tracks SET embedding = x'00' WHERE id = 3")


@pytest.mark.parametrize(
  ('damage', 'message', 'code'),
  [
    (_other_version, 'written by another version of this package (format 7', 1),
    (_other_owner, 'not an index of this package', 1),
    (_garbage, 'damaged (file is not a database)', 1),
    (_hole, 'damaged', 1),
    (_cut, 'damaged', 1),
    (_foreign_row, 'damaged (a row that no version', 1),
    (_foreign_embedding, 'damaged (not an embedding)', 1),
    (lambda path: path.unlink(), 'does not exist', 2),
  ],
)
def test_a_damaged_index_is_reported(
  index, music_folder, damage, message, code
):
  _make_small_index(index, music_folder)
  damage(index)
  words = ('similar', music_folder / 'jazz' / '0.wav')
  assert message in _output(index, *words, code=code)
  if damage is not _foreign_embedding:  # a report does not read embeddings
    assert message in _output(index, 'report', code=code)


def test_a_second_process_cannot_change_the_index(model, index, music_folder):
  words = (*COMMAND, 'index', music_folder, f'--index={index}')
  first = Process([*words, f'--model={model}'])
  first.wait_for(lambda: index.exists())
  os.kill(first.pid, signal.SIGSTOP)  # the second takes a while to start
  try:
    output = _output(index, 'index', music_folder, code=1)
  finally:
    os.kill(first.pid, signal.SIGCONT)
  assert 'another process is using it' in output
  assert first.wait() == 0


def _num_classified(path):
  try:
    with Index(path) as index:
      return index.num_classified()
  except ConfigError:  # it is being created
    return 0


@pytest.mark.parametrize(
  'num_kills', [1, pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_killed_index_command_continues(num_kills, model, index, tmp_path):
  music = tmp_path / 'music'
  for i in range(60):  # takes over a second; there is a commit each second
    write_tone(music / f'{i:02}.wav', 60.0, frequency_hz=200.0 + 7 * i)
  words = [*COMMAND, 'index', music, f'--index={index}', f'--model={model}']
  rng = np.random.default_rng(0)
  for _ in range(num_kills):
    process = Process(words)
    start = _num_classified(index)
    process.wait_for(lambda start=start: _num_classified(index) > start)
    time.sleep(rng.uniform(0.0, 1.0))
    process.kill()
  output = _output(index, 'index', music)
  with Index(index) as opened:
    opened.check()
    assert opened.num_classified() == 60
  assert '0 failed' in output


def test_another_model_needs_another_index(model, index, music_folder):
  _output(index, 'index', music_folder, f'--model={model}')
  output = _output(index, 'index', music_folder, '--model=crnn', code=2)
  assert 'was made with' in output
