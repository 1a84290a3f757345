"""Odd, broken and hostile audio through predict and through the collection."""

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

# What is heard as a whole, where preparation takes the middle.
_USED = ('silent in the middle',)


@pytest.fixture
def model(bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  return tmp_path / 'model'


def test_every_odd_file_is_answered_or_named(model, tmp_path):
  wanted = {}
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
  answered = {row['path'] for row in rows}
  assert answered == {path for path, message in wanted.items() if not message}
  index = tmp_path / 'index'
  command = ('mgc_jax.collection', 'index', tmp_path / 'music')
  indexed = run_command(*command, f'--model={model}', f'--index={index}')
  assert indexed.returncode == 1 and 'Traceback' not in indexed.stderr
  with Index(index) as opened:
    assert {entry.path for entry in opened.entries()} == answered
  for path, message in wanted.items():
    for said in (done.stderr, indexed.stderr):
      (line,) = [x for x in said.splitlines() if x.startswith(path)] or ['']
      # Walking a folder, there is nothing to be said of what is no file.
      is_walked = said == indexed.stderr
      is_there = os.path.lexists(path) and not os.path.isdir(path)
      if message and (is_there or not is_walked):
        assert re.search(message, line, re.IGNORECASE), (path, line)


@pytest.fixture
def truncated(tmp_path):
  """A folder of truncated files, one of each format."""
  for name, make in TRUNCATED:
    path = tmp_path / 'music' / f'{name}.mp3'
    path.parent.mkdir(exist_ok=True)
    make(path)
  return tmp_path / 'music'


def test_truncated_files_are_answered_with_a_warning(model, truncated):
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
  answers = [json.loads(line) for line in done.stdout.splitlines()]
  assert [a['warning'] for a in answers] == [row['warning'] for row in rows]


def test_strict_refuses_truncated_files(model, truncated):
  whole = write_tone(truncated / 'whole.wav')
  predict = ('mgc_jax.predict', truncated, f'--model={model}')
  done = run_command(*predict, '--format=csv', '--strict')
  assert done.returncode == 1
  (row,) = csv.DictReader(io.StringIO(done.stdout))
  assert row['path'] == str(whole) and row['warning'] == ''
  assert f'{len(TRUNCATED)} of {len(TRUNCATED) + 1} files failed' in done.stderr


def test_a_picture_that_cannot_be_drawn_costs_no_answer(model, tmp_path):
  """A broken installation of matplotlib, in a process of its own."""
  song = write_tone(tmp_path / 'music' / 'a.wav')
  package = tmp_path / 'broken' / 'matplotlib'
  package.mkdir(parents=True)
  (package / '__init__.py').write_text('raise ImportError("no C extension")')
  env = environment(PYTHONPATH=f'{package.parent}:{ROOT}')
  plot, index = tmp_path / 'a.png', f'--index={tmp_path / "index"}'
  run_command(
    'mgc_jax.collection', 'index', song.parent, f'--model={model}', index
  )
  for words, answer in (
    (['mgc_jax.predict', song, f'--model={model}'], str(song)),
    (['mgc_jax.collection', 'report', index], 'all'),
  ):
    done = subprocess.run(
      [sys.executable, '-m', *map(str, words), f'--plot={plot}'],
      capture_output=True,
      text=True,
      env=env,
    )
    assert done.returncode == 0 and answer in done.stdout, done.stderr
    assert f'{plot}: not drawn: ImportError: no C extension' in done.stderr
    assert 'Traceback' not in done.stderr and not plot.exists()


@pytest.mark.slow
def test_two_hours_take_no_more_memory_than_two_minutes(tmp_path):
  long = tmp_path / 'long.wav'
  with soundfile.SoundFile(long, 'w', 11025, 1, 'PCM_U8') as file:
    for i in range(120):
      file.write(tone(60.0, 11025, frequency_hz=200.0 + i))
  # From a small process: one that is forked begins with its parent's peak.
  code = (
    'import resource, subprocess, sys\n'
    'subprocess.run(sys.argv[1:], check=True)\n'
    'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)'
  )
  predict = [sys.executable, '-m', 'mgc_jax.predict', str(long)]
  done = subprocess.run(
    [sys.executable, '-c', code, *predict, '--format=json'],
    capture_output=True,
    text=True,
    env=environment(),
  )
  assert done.returncode == 0, done.stderr
  answer, peak_kib = done.stdout.splitlines()
  assert json.loads(answer)['duration_s'] == 7200.0
  assert int(peak_kib) < 700e3


def test_files_that_vanish_or_change_meanwhile(model, tmp_path):
  music = tmp_path / 'music'
  for i in range(20):
    write_tone(music / f'{i:02}.wav', seconds=4.0, frequency_hz=200.0 + i)
  write_tone(music / '00.wav', seconds=3600.0)  # others wait for it
  words = [sys.executable, '-m', 'mgc_jax.collection', 'index', music]
  index = tmp_path / 'index'
  process = Process([*words, f'--model={model}', f'--index={index}'])
  process.wait_for(lambda: _has_begun(index))
  (music / '18.wav').unlink()
  write_tone(music / '19.wav', seconds=5.0)
  assert process.wait() == 1
  assert '18.wav: changed while it was read' in process.said
  assert '19.wav: changed while it was read' in process.said
  with Index(index) as opened:
    assert opened.num_classified() == 18


def _has_begun(path):
  if not path.exists():
    return False
  try:
    with Index(path) as index:
      return index.model() is not None
  except ConfigError:  # it is being made
    return False


def test_a_folder_that_nobody_may_read_is_named(model, tmp_path):
  music = tmp_path / 'music'
  write_tone(music / 'open' / 'a.wav')
  write_tone(music / 'shut' / 'b.wav')
  index = f'--index={tmp_path / "index"}'
  command = [*unprivileged(), sys.executable, '-m', 'mgc_jax.collection']
  words = [*command, 'index', str(music), index]

  def run(words):
    return subprocess.run(
      words, capture_output=True, text=True, env=environment()
    )

  assert run([*words, f'--model={model}']).returncode == 0
  (music / 'shut').chmod(0)
  try:
    done = run(words)
    assert done.returncode == 1 and 'shut: cannot be read' in done.stderr
    assert '0 gone, 1 failed' in done.stdout
    command[-1] = 'mgc_jax.predict'
    done = run([*command, str(music), f'--model={model}'])
    assert done.returncode == 1 and 'shut' in done.stderr
  finally:
    (music / 'shut').chmod(0o755)


@pytest.mark.parametrize('module', ['predict', 'collection'])
def test_a_full_standard_output_is_said(module, model, music_folder, tmp_path):
  index = f'--index={tmp_path / "index"}'
  words = [sys.executable, '-m', f'mgc_jax.{module}']
  if module == 'collection':
    filling = [*words, 'index', str(music_folder), f'--model={model}', index]
    subprocess.run(filling, check=True, env=environment())
    words += ['report', index]
  else:
    words += [str(music_folder), f'--model={model}']
  with open('/dev/full', 'w') as full:
    done = subprocess.run(
      words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment()
    )
  assert done.returncode == 1 and 'No space left' in done.stderr
  assert 'Traceback' not in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(model, music_folder):
  predict = f'{sys.executable} -m mgc_jax.predict {music_folder}'
  done = subprocess.run(
    ['bash', '-c', f'{predict} --model={model} --format=csv | head -n 1'],
    capture_output=True,
    text=True,
    env=environment(),
  )
  assert done.stdout.startswith('path,genre')
  assert 'Traceback' not in done.stderr and 'Error' not in done.stderr


def test_a_folder_of_folders_without_audio_is_named(tmp_path):
  (tmp_path / 'a' / 'b').mkdir(parents=True)
  with Index(tmp_path / 'index', create=True) as index:
    with pytest.raises(DataError, match='no audio files in it'):
      scan(index, str(tmp_path), None)
