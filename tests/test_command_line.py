"""What every command line shares, as real processes."""

import json
import os
import subprocess
import sys

import pytest

from tests.processes import ROOT, environment

# A command with a flag of each kind, which prints what it was given.
COMMAND = """
import json
from absl import flags
from ml_collections import config_flags
from mgc_jax.system import command_line

def main(words):
  names = ('to', 'list', 'multi', 'number')
  found = {name: flags.FLAGS[name].value for name in names}
  found['config'] = config_flags.get_config_filename(flags.FLAGS['config'])
  print(json.dumps({**found, **flags.FLAGS.config.data, 'words': words}))

config_flags.DEFINE_config_file('config', lock_config=True)
flags.DEFINE_string('to', '~/default', '')
flags.DEFINE_list('list', None, '')
flags.DEFINE_multi_string('multi', None, '')
flags.DEFINE_integer('number', 3, '')
command_line.run(main, takes_words=True)
"""
CONFIG = """
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

def get_config():
  data = {'root': '~/music', 'fma': placeholder(str), 'genres': ('~root', 'x')}
  return ConfigDict({'seed': 0, 'data': data})
"""


def _given(tmp_path, *args, command=COMMAND, without=(), **env):
  (tmp_path / 'home').mkdir(exist_ok=True)
  (tmp_path / 'home' / 'mine.py').write_text(CONFIG)
  if not any(word.startswith('--config=') for word in args):
    args = ('--config=home/mine.py', *args)
  env = environment(**{'HOME': tmp_path / 'home', **env})
  return subprocess.run(
    [sys.executable, '-c', command, *args],
    capture_output=True,
    text=True,
    check=False,
    cwd=tmp_path,
    env={name: value for name, value in env.items() if name not in without},
  )


@pytest.mark.parametrize(
  ('args', 'name', 'value'),
  [
    (['--to=~/Sorted'], 'to', '{home}/Sorted'),
    (['--to', '~/Sorted'], 'to', '{home}/Sorted'),
    (['--to=~'], 'to', '{home}'),
    ([], 'to', '{home}/default'),
    (['--to=a/~/b'], 'to', 'a/~/b'),
    (['--to=~nobody-has-this-name/x'], 'to', '~nobody-has-this-name/x'),
    (['--list=~/a,b,~/c'], 'list', ['{home}/a', 'b', '{home}/c']),
    (['--multi=~/a', '--multi=b'], 'multi', ['{home}/a', 'b']),
    (['--config=~/mine.py'], 'config', '{home}/mine.py'),
    (['--config=~/mine.py'], 'root', '{home}/music'),
    (
      ['--config=~/mine.py', '--config.data.fma=~/fma'],
      'fma',
      '{home}/fma',
    ),
    (['--config=~/mine.py'], 'genres', ['~root', 'x']),  # names, not paths
    (['~/a.mp3', '-'], 'words', ['{home}/a.mp3', '-']),
    (['--', '~/a.mp3'], 'words', ['{home}/a.mp3']),
  ],
)
def test_a_leading_tilde_is_the_home_directory(tmp_path, args, name, value):
  done = _given(tmp_path, *args)
  assert done.returncode == 0, done.stderr
  wanted = json.dumps(value).replace('{home}', str(tmp_path / 'home'))
  assert json.loads(done.stdout)[name] == json.loads(wanted)


def test_a_word_that_names_a_file_is_that_file(tmp_path):
  (tmp_path / '~').mkdir()
  (tmp_path / '~' / 'a.mp3').touch()
  done = _given(tmp_path, '~/a.mp3', '~/b.mp3')
  found = json.loads(done.stdout)['words']
  assert found == ['~/a.mp3', f'{tmp_path}/home/b.mp3']


# As in a container: a user who is in no list, and here may read everything.
HOMELESS = 'import os; os.setresuid(54321, 0, 0)\n' + COMMAND


@pytest.mark.skipif(os.geteuid() != 0, reason='becomes another user')
@pytest.mark.parametrize(
  ('args', 'refused'),
  [
    ([], '~/music'),
    (['--config.data.root=x', '--to=~/Sorted'], '~/Sorted'),
    (['--config.data.root=x', '--to=x', '~'], '~'),
  ],
)
def test_without_a_home_directory_a_tilde_is_refused(tmp_path, args, refused):
  """It would become a folder of that name."""
  done = _given(tmp_path, *args, command=HOMELESS, without=['HOME'])
  assert done.returncode == 2
  assert f'error: {refused}: this user has no home directory' in done.stderr
  assert 'Traceback' not in done.stderr


def test_nothing_lands_in_a_folder_named_tilde(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'mgc_jax.collection', 'report', '--index=~/none'],
    capture_output=True,
    text=True,
    check=False,
    cwd=tmp_path,
    env=environment(HOME=tmp_path / 'home'),
  )
  assert f'{tmp_path}/home/none' in done.stderr
  assert list(tmp_path.iterdir()) == []


PRINTING = """
import sys
from mgc_jax.system import command_line
from mgc_jax.system.errors import DataError

def main():
  print('x' * {size})
  {end}

command_line.run(main)
"""


def _without_reader(*command, unbuffered=''):
  """Runs a command whose reader has gone, as `head` goes."""
  reading, writing = os.pipe()
  process = subprocess.Popen(
    [sys.executable, *command],
    stdout=writing,
    stderr=subprocess.PIPE,
    text=True,
    cwd=ROOT,
    env=environment(PYTHONUNBUFFERED=unbuffered),
  )
  os.close(writing)
  os.close(reading)
  said = process.communicate(timeout=60)[1]
  return process.returncode, said


@pytest.mark.parametrize('size', [10, 10**6])  # failing at the end; at once
@pytest.mark.parametrize('end', ['pass', 'sys.exit(1)'])
def test_a_command_whose_reader_has_gone_ends_quietly(size, end):
  found = _without_reader('-c', PRINTING.format(size=size, end=end))
  assert found == (141, '')


@pytest.mark.parametrize('unbuffered', ['', '1'])  # failing at the end; at once
def test_help_whose_reader_has_gone_ends_quietly(unbuffered):
  command = ('-m', 'mgc_jax.predict', '--help')
  assert _without_reader(*command, unbuffered=unbuffered) == (141, '')


def test_an_error_is_still_said_where_the_reader_has_gone():
  end = 'raise DataError("damaged")'
  found = _without_reader('-c', PRINTING.format(size=10, end=end))
  assert found == (141, 'error: damaged\n')


def _with_closed(streams, *command, **kwargs):
  return subprocess.run(
    ['sh', '-c', f'exec "$@" {streams}', 'sh', sys.executable, *command],
    capture_output=True,
    text=True,
    check=False,
    env=environment(),
    **kwargs,
  )


@pytest.mark.parametrize(
  ('streams', 'stdout', 'stderr'),
  [
    ('>&-', '', 'y\n'),
    ('2>&-', 'x\n', ''),
    ('>&- 2>&-', '', ''),
    ('<&- >&- 2>&-', '', ''),
  ],
)
def test_closed_streams_lose_their_output_only(streams, stdout, stderr):
  end = 'print("y", file=sys.stderr)'
  code = PRINTING.format(size=1, end=end)
  done = _with_closed(streams, '-c', code, cwd=ROOT)
  assert (done.returncode, done.stdout, done.stderr) == (0, stdout, stderr)


OPENING = """
import os
from mgc_jax.system import command_line

def main():
  with open('mine', 'w'):
    os.write(1, b'what a C library prints')

command_line.run(main)
"""


def test_a_closed_standard_output_is_not_taken_for_a_file(tmp_path):
  done = _with_closed('>&-', '-c', OPENING, cwd=tmp_path)
  assert (done.returncode, done.stderr) == (0, '')
  assert (tmp_path / 'mine').read_bytes() == b''


def test_predict_without_standard_output_still_names_failures(tmp_path):
  command = ['-m', 'mgc_jax.predict', 'none.mp3']
  done = _with_closed('>&-', *command, cwd=tmp_path)
  assert done.returncode == 1
  assert done.stderr.splitlines()[0] == 'none.mp3: no such file'


# Each takes a fifth of a second or more to import.
HEAVY = (
  'jax',
  'keras',
  'librosa',
  'matplotlib',
  'orbax',
  'scipy',
  'sklearn',
  'soundfile',
  'tensorflow',
  'tensorflow_datasets',
)


@pytest.mark.parametrize(
  'name',
  ['main', 'predict', 'collection', 'datasets.prepare', 'experiments.sweep'],
)
def test_help_does_not_wait_for_imports(name):
  code = (
    'import runpy, sys\n'
    'sys.argv[1:] = ["--help"]\n'
    'try:\n'
    f'  runpy.run_module("mgc_jax.{name}", run_name="__main__")\n'
    'finally:\n'
    f'  print(*sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
    env=environment(),
  )
  assert '--help' in done.stdout or 'flags:' in done.stdout
  assert done.stderr.split() == []
