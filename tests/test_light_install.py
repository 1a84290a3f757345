"""What works without the extra `train`."""

import json
import re
import subprocess
import sys

import pytest

from tests.conftest import write_tone
from tests.processes import environment

MODULES = (
  'etils',
  'importlib_resources',
  'optax',
  'orbax',
  'sklearn',
  'tensorflow',
  'tensorflow_datasets',
)
# Runs commands one after another, as if these packages were not installed.
WITHOUT = f"""
import json, runpy, sys
for name in {MODULES}: sys.modules[name] = None
for words in json.loads(sys.argv[1]):
  sys.argv = ['mgc', *words]
  try:
    runpy.run_module('mgc_jax', run_name='__main__', alter_sys=True)
  except SystemExit as end:
    if end.code: raise
"""


def _run(folder, *commands):
  return subprocess.run(
    [sys.executable, '-W', 'ignore', '-c', WITHOUT, json.dumps(commands)],
    cwd=folder,
    env=environment(XDG_DATA_HOME=folder / 'share'),
    capture_output=True,
    text=True,
  )


def test_songs_and_collections_need_no_extra(tmp_path):
  for i in range(2):
    write_tone(tmp_path / 'music' / f'{i}.wav', 4.0, frequency_hz=200.0 + i)
  done = _run(
    tmp_path,
    ('models',),
    ('config', '--config=crnn'),
    ('predict', 'music', '--tags'),
    ('predict', 'music/0.wav', '--model=cnn', '--plot=song.png'),
    ('collection', 'index', 'music'),
    ('collection', 'report', '--plot=report.png'),
    ('collection', 'similar', 'music/0.wav'),
    ('export', '--model=cnn', '--to=cnn.mgc'),
    ('predict', 'music/0.wav', '--model=cnn.mgc'),
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.count('music/0.wav: ') == 3
  for name in ('song.png', 'report.png', 'cnn.mgc'):
    assert (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
  'words',
  [
    ('train', '--config=smoke', '--workdir=run'),
    ('prepare', '--config=smoke'),
    ('cross-validate', '--workdirs=a,b'),
  ],
)
def test_the_extra_that_is_missing_is_named(words, tmp_path):
  done = _run(tmp_path, words)
  assert done.returncode == 2, done.stderr
  message = r"error: this command needs \w+: pip install 'mgc_jax\[train\]'"
  assert re.fullmatch(message, done.stderr.splitlines()[-1])
  assert 'Traceback' not in done.stderr
