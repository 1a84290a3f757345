"""Unusual, broken and hostile audio in the predict and collection commands."""

import csv
import io
import json
import os
import re
import subprocess
import sys

import pytest
import soundfile

from mgc_jax.collection.index import Index
from mgc_jax.collection.scan import scan
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError, DataError
from tests.commands import run_command
from tests.conftest import tone, write_tone
from tests.hostile_audio import AUDIO, TRUNCATED
from tests.processes import ROOT, Process, environment, unprivileged

# Files of which these commands use the whole, but preparation only the middle.
_USED = ('silent in the middle',)


@pytest.fixture
def model(bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  return tmp_path / 'model'


def test_every_malformed_file_is_classified_or_reported(model, tmp_path):
  wanted = {}  # path to the expected message, None if there is a prediction
  for name, make, message in AUDIO:
    path = tmp_path / 'music' / name / 'x.mp3'
    path.parent.mkdir(parents=True)
    make(path)
    wanted[str(path)] = None if name in _USED else message
  listed = '\n'.join(wanted)
  predict = ('mgc_jax.predict', '-', f'--model={model}', '--format=csv')
  done = run_command(*predict, stdin=listed)
  assert done.returncode == 1 and 'Traceback' not in done.stderr
  rows = csv.DictReader(io.StringIO(done.stdout))
  predicted = {row['path'] for row in rows}
  assert predicted == {path for path, message in wanted.items() if not message}
  index = tmp_path / 'index'
  command = ('mgc_jax.collection', 'index', tmp_path / 'music')
  indexed = run_command(*command, f'--model={model}', f'--index={index}')
  assert indexed.returncode == 1 and 'Traceback' not in indexed.stderr
  with Index(index) as opened:
    assert {entry.path for entry in opened.entries()} == predicted
  for path, message in wanted.items():
    for output in (done.stderr, indexed.stderr):
      (line,) = [x for x in output.splitlines() if x.startswith(path)] or ['']
      # The collection walks a folder and ignores what is not a file.
      is_walked = output == indexed.stderr
      is_there = os.path.lexists(path) and not os.path.isdir(path)
      if message and (is_there or not is_walked):
        assert re.search(message, line, re.IGNORECASE), (path, line)


@pytest.fixture
def truncated(tmp_path):
  """A folder with a truncated file of each format."""
  for name, make in TRUNCATED:
    path = tmp_path / 'music' / f'{name}.mp3'
    path.parent.mkdir(exist_ok=True)
    make(path)
  return tmp_path / 'music'


def test_truncated_files_are_classified_with_a_warning(model, truncated):
  predict = ('mgc_jax.predict', truncated, f'--model={model}')
  done = run_command(*predict, '--format=csv')
  assert done.returncode == 0, done.stderr
  rows = list(csv.DictReader(io.StringIO(done.stdout)))
  assert len(rows) == len(TRUNCATED)
  for row in rows:
    assert 1.5 < float(row['duration_s']) < 3
    assert row['warning'].startswith('truncated')
    assert f'{row["path"]}: warning: {row["warning"]}' in done.stderr
  done = run_command(*predict, '--format=json')
  found = [json.loads(line) for line in done.stdout.splitlines()]
  assert [x['warning'] for x in found] == [row['warning'] for row in rows]


def test_strict_rejects_truncated_files(model, truncated):
  whole = write_tone(truncated / 'whole.wav')
  predict = ('mgc_jax.predict', truncated, f'--model={model}')
  done = run_command(*predict, '--format=csv', '--strict')
  assert done.returncode == 1
  (row,) = csv.DictReader(io.StringIO(done.stdout))
  assert row['path'] == str(whole) and row['warning'] == ''
  assert f'{len(TRUNCATED)} of {len(TRUNCATED) + 1} files failed' in done.stderr


def test_plot_failure_does_not_stop_predictions(model, tmp_path):
  """Simulates a broken installation of matplotlib in a separate process."""
  song = write_tone(tmp_path / 'music' / 'a.wav')
  package = tmp_path / 'broken' / 'matplotlib'
  package.mkdir(parents=True)
  (package / '__init__.py').write_text('raise ImportError("no C extension")')
  env = environment(PYTHONPATH=f'{package.parent}:{ROOT}')
  plot, index = tmp_path / 'a.png', f'--index={tmp_path / "index"}'
  run_command(
    'mgc_jax.collection', 'index', song.parent, f'--model={model}', index
  )
  for words, expected in (
    (['mgc_jax.predict', song, f'--model={model}'], str(song)),
    (['mgc_jax.collection', 'report', index], 'all'),
  ):
    done = subprocess.run(
      [sys.executable, '-m', *map(str, words), f'--plot={plot}'],
      capture_output=True,
      text=True,
      env=env,
    )
    assert done.returncode == 0 and expected in done.stdout, done.stderr
    assert f'{plot}: not drawn: ImportError: no C extension' in done.stderr
    assert 'Traceback' not in done.stderr and not plot.exists()


@pytest.mark.slow
@pytest.mark.parametrize(('model', 'num_minutes'), [('cnn', 120), ('tags', 8)])
def test_memory_does_not_grow_with_duration(model, num_minutes, tmp_path):
  long = tmp_path / 'long.wav'
  with soundfile.SoundFile(long, 'w', 11025, 1, 'PCM_U8') as file:
    for i in range(num_minutes):
      file.write(tone(60.0, 11025, frequency_hz=200.0 + i))
  # Start it from a small process: a forked one inherits its parent's peak.
  code = (
    'import resource, subprocess, sys\n'
    'subprocess.run(sys.argv[1:], check=True)\n'
    'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)'
  )
  predict = [sys.executable, '-m', 'mgc_jax.predict', str(long)]
  predict += [f'--model={model}', '--format=json']
  done = subprocess.run(
    [sys.executable, '-c', code, *predict],
    capture_output=True,
    text=True,
    env=environment(),
  )
  assert done.returncode == 0, done.stderr
  prediction, peak_kib = done.stdout.splitlines()
  assert json.loads(prediction)['duration_s'] == 60.0 * num_minutes
  assert int(peak_kib) < 700e3


def test_files_that_vanish_or_change_during_a_scan_are_reported(
  model, tmp_path
):
  music = tmp_path / 'music'
  for i in range(20):
    write_tone(music / f'{i:02}.wav', seconds=4.0, frequency_hz=200.0 + i)
  write_tone(music / '00.wav', seconds=3600.0)  # delays the others
  words = [sys.executable, '-m', 'mgc_jax.collection', 'index', music]
  index = tmp_path / 'index'
  process = Process([*words, f'--model={model}', f'--index={index}'])
  process.wait_for(lambda: _has_started(index))
  (music / '18.wav').unlink()
  write_tone(music / '19.wav', seconds=5.0)
  assert process.wait() == 1
  assert '18.wav: changed while it was read' in process.output
  assert '19.wav: changed while it was read' in process.output
  with Index(index) as opened:
    assert opened.num_classified() == 18


def _has_started(path):
  if not path.exists():
    return False
  try:
    with Index(path) as index:
      return index.model() is not None
  except ConfigError:  # it is being created
    return False


RUN_COMMANDS = """
import json, sys
from tests.commands import run_command
found = [run_command(*words) for words in json.loads(sys.argv[1])]
print(json.dumps([[x.returncode, x.stdout, x.stderr] for x in found]))
"""


def _run_unprivileged(*commands):
  """Returns the exit code and the outputs of each, run in one process."""
  words = json.dumps([list(map(str, command)) for command in commands])
  done = subprocess.run(
    [*unprivileged(), sys.executable, '-c', RUN_COMMANDS, words],
    capture_output=True,
    text=True,
    cwd=ROOT,
    env=environment(),
    check=True,
  )
  return json.loads(done.stdout)


def test_unreadable_folder_is_reported(model, tmp_path):
  music = tmp_path / 'music'
  write_tone(music / 'open' / 'a.wav')
  write_tone(music / 'shut' / 'b.wav')
  index = f'--index={tmp_path / "index"}'
  indexing = ('mgc_jax.collection', 'index', music, index)
  assert run_command(*indexing, f'--model={model}').returncode == 0
  (music / 'shut').chmod(0)
  try:
    (code, output, errors), predicted = _run_unprivileged(
      indexing, ('mgc_jax.predict', music, f'--model={model}')
    )
    assert code == 1 and 'shut: cannot be read' in errors
    assert '0 removed, 0 failed, 1 could not be read' in output
    assert predicted[0] == 1 and 'shut' in predicted[2]
  finally:
    (music / 'shut').chmod(0o755)


@pytest.mark.parametrize('module', ['predict', 'collection'])
def test_full_standard_output_is_reported(
  module, model, music_folder, tmp_path
):
  index = f'--index={tmp_path / "index"}'
  words = [sys.executable, '-m', f'mgc_jax.{module}']
  if module == 'collection':
    filling = ('index', music_folder, f'--model={model}', index)
    assert run_command('mgc_jax.collection', *filling).returncode == 0
    words += ['report', index]
  else:
    words += [str(music_folder), f'--model={model}']
  with open('/dev/full', 'w') as full:
    done = subprocess.run(
      words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment()
    )
  assert done.returncode == 1 and 'No space left' in done.stderr
  assert 'Traceback' not in done.stderr


def test_closed_pipe_ends_the_command_silently(model, music_folder):
  predict = f'{sys.executable} -m mgc_jax.predict {music_folder}'
  done = subprocess.run(
    ['bash', '-c', f'{predict} --model={model} --format=csv | head -n 1'],
    capture_output=True,
    text=True,
    env=environment(),
  )
  assert done.stdout.startswith('path,genre')
  assert 'Traceback' not in done.stderr and 'Error' not in done.stderr


def test_folder_without_audio_raises(tmp_path):
  (tmp_path / 'a' / 'b').mkdir(parents=True)
  with Index(tmp_path / 'index', create=True) as index:
    with pytest.raises(DataError, match='no audio files in it'):
      scan(index, str(tmp_path), None)
