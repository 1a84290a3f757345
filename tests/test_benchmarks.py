"""Benchmarks run at toy size, so that none rots; figures mean nothing here."""

import json
import subprocess
import sys

from tests.conftest import write_tone
from tests.processes import ROOT, environment


def _run(module, *args):
  done = subprocess.run(
    [sys.executable, '-m', module, *map(str, args)],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
    env=environment(),
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_input_pipeline():
  found = _run('benchmarks.input_pipeline', '--toy')
  assert found['crnn']['ratio'] > 0


def test_preparation(tmp_path):
  for genre in ('jazz', 'rock'):
    for i in range(3):
      frequency_hz = 300.0 + 40 * i + len(genre)
      path = tmp_path / genre / f'{i}.mp3'
      write_tone(path, 3.0, 22050, frequency_hz=frequency_hz)
  found = _run('benchmarks.preparation', f'--root={tmp_path}', '--rounds=1')
  assert found['num_tracks'] == 6
  assert 0 < found['peak_gib'] < 2
