"""`mgc predict` in a real terminal, whose screen a terminal emulator keeps."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pyte
import pytest

from mgc_jax.models import bundle as bundles
from tests.conftest import write_tone
from tests.processes import ROOT, environment

_LINES = 200


def _screen(columns, words, **env):
  """Runs a command in a terminal; returns its lines and what it was sent."""
  screen = pyte.Screen(columns, _LINES)
  stream = pyte.ByteStream(screen)
  ours, its = pty.openpty()
  size = struct.pack('HHHH', _LINES, columns, 0, 0)
  fcntl.ioctl(its, termios.TIOCSWINSZ, size)
  process = subprocess.Popen(
    [sys.executable, '-m', *map(str, words)],
    stdin=its,
    stdout=its,
    stderr=its,
    cwd=ROOT,
    env=environment(TERM='xterm-256color', **env),
  )
  os.close(its)
  sent = b''
  while True:
    try:
      data = os.read(ours, 1 << 16)
    except OSError:  # the other end is closed
      break
    if not data:
      break
    sent += data
    stream.feed(data)
  os.close(ours)
  assert process.wait() == 0, sent
  return [line.rstrip() for line in screen.display if line.strip()], sent


@pytest.fixture(scope='module')
def songs(tmp_path_factory):
  folder = tmp_path_factory.mktemp('songs')
  for i in range(6):
    write_tone(folder / f'{i}.wav', seconds=3.0, frequency_hz=300.0 + i)
  return folder


@pytest.mark.parametrize(
  'columns',
  [80, *(pytest.param(x, marks=pytest.mark.slow) for x in (60, 120))],
)
def test_every_line_is_intact(columns, songs, bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  words = ['mgc_jax.predict', songs, f'--model={tmp_path / "model"}', '--top=1']
  piped = subprocess.run(
    [sys.executable, '-m', *map(str, words)],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    check=True,
  )
  assert 'predict:' not in piped.stdout + piped.stderr  # no bar in a pipe
  shown, sent = _screen(columns, words, NO_COLOR='1')
  assert b'predict:' in sent and b'\x1b[3' not in sent
  # A line that is longer than the terminal goes on in the next one.
  wanted = [
    line[start : start + columns].rstrip()
    for line in piped.stdout.splitlines()
    for start in range(0, len(line), columns)
  ]
  assert [line for line in shown if 'predict:' not in line] == wanted
