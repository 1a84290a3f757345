"""Ctrl-C: what the message promises about the same command is true."""

import importlib
import os
import re
import signal

import pytest

from mgc_jax.__main__ import COMMANDS
from mgc_jax.system.arguments import CONTINUES, STARTS_AGAIN
from tests.conftest import write_tone
from tests.processes import INTERRUPTIBLE, Process

_NUM_SONGS = 16


@pytest.fixture
def songs(tmp_path):
  folder = tmp_path / 'songs'
  for i in range(_NUM_SONGS):
    write_tone(folder / f'{i:02d}.wav', seconds=8.0, frequency_hz=300.0 + i)
  return folder


def _interrupted(words, pattern):
  """Returns what a command prints that gets Ctrl-C once a line matches."""
  process = Process([*INTERRUPTIBLE, *words])
  process.wait_for(lambda: re.search(pattern, process.output))
  os.kill(process.pid, signal.SIGINT)
  assert process.wait() == 130, process.output
  assert 'Traceback' not in process.output
  return process.output


def test_predict_starts_again(tmp_path):
  song = write_tone(tmp_path / 'a.wav', seconds=4.0)
  output = _interrupted(['predict', *1000 * [song]], r'a\.wav')
  assert output.endswith(f'interrupted; {STARTS_AGAIN}\n')
  assert output.count('.wav') < 1000


@pytest.mark.slow  # test_collection kills one, and continues it
def test_index_continues(songs, tmp_path):
  # A second folder is indexed after the first, which is reported.
  write_tone(tmp_path / 'one' / 'a.wav', seconds=4.0)
  words = ['collection', f'--index={tmp_path / "index"}', 'index']
  words += [tmp_path / 'one', songs]
  output = _interrupted(words, '1 indexed')
  assert output.endswith(f'interrupted; {CONTINUES}\n')
  process = Process([*INTERRUPTIBLE, *words])
  assert process.wait() == 0, process.output
  assert '0 indexed, 1 unchanged' in process.output


def _found(name):
  module, _, attribute = COMMANDS[name][0].partition(':')
  return getattr(importlib.import_module(module), attribute)


def test_only_commands_that_keep_their_work_promise_it():
  kept = {
    name for name in COMMANDS if _found(name).after_interrupt != STARTS_AGAIN
  }
  # Of each of these a test kills a process and runs the command again.
  assert kept == {
    'build-models',
    'fetch',
    'leakage',
    'leave-out',
    'prepare',
    'sweep',
    'train',
  }  # fmt: skip
  parser = _found('collection').parser('mgc collection')
  for words, text in [
    ('report', STARTS_AGAIN),
    ('similar a.mp3', STARTS_AGAIN),
    ('index a', CONTINUES),
    ('organise --to=a', CONTINUES),
    ('tag', CONTINUES),
    ('undo', CONTINUES),
  ]:
    assert parser.parse_args(words.split()).after_interrupt == text
