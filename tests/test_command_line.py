"""What every command line shares, as real processes."""

import json
import os
import subprocess
import sys

import pytest

from mgc_jax.__main__ import COMMANDS
from tests.processes import ROOT, environment

# A command with a flag of each kind, which prints what it was given.
COMMAND = """
import json
from mgc_jax.config.flags import load_config
from mgc_jax.system import command_line
from mgc_jax.system.arguments import Command, comma_list, whole_number

def add_arguments(parser):
  parser.add_config()
  parser.add_argument('--to', default='~/default')
  parser.add_argument('--list', type=comma_list)
  parser.add_argument('--multi', action='append')
  parser.add_argument('-k', '--number', type=whole_number(1, 9), default=3)
  parser.add_argument('--apply', action='store_true')
  parser.add_argument('words', nargs='*')

def run(args):
  config = load_config(args.config, args.overrides)
  print(json.dumps({**vars(args), 'run': None, **config.data}))

command_line.run(Command('What it does.', add_arguments, run), 'it')
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


@pytest.mark.parametrize(
  ('args', 'found'),
  [
    (['a', '-k', '5', 'b'], {'number': 5, 'words': ['a', 'b']}),
    (['a', '-k=5'], {'number': 5, 'words': ['a']}),
    (['-k5', 'a'], {'number': 5, 'words': ['a']}),
    (['--apply', 'a', '-'], {'apply': True, 'words': ['a', '-']}),
    (['a', '--', '-k', '--'], {'number': 3, 'words': ['a', '-k', '--']}),
    (['--to', '-', 'a'], {'to': '-', 'words': ['a']}),
    (['--to', '--apply'], {'to': '--apply', 'apply': False}),
    (['--to=', '--list=', '--multi', ''], {'to': '', 'list': []}),
    (['--config.data.root', 'a'], {'words': ['a']}),
  ],
)
def test_words_and_flags_may_be_mixed(tmp_path, args, found):
  done = _given(tmp_path, *args)
  if '--config.data.root' in args:  # a text field: its value cannot be missing
    assert done.returncode == 2 and 'config.data.root' in done.stderr
    return
  assert done.returncode == 0, done.stderr
  assert found.items() <= json.loads(done.stdout).items()


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (['--nix'], 'unknown flag: --nix'),
    (['-x'], 'unknown flag: -x'),
    (['--num=4'], 'unknown flag: --num=4'),  # no abbreviations
    (['--number'], '--number'),
    (['--number=x'], 'x: must be a whole number from 1 to 9'),
    (['-k', '10'], '10: must be a whole number from 1 to 9'),
    (['--apply=1'], '--apply'),
    (['--config.data.nix=1'], 'no field nix'),
    (['--config=none.py'], 'none.py'),
  ],
)
def test_wrong_usage_is_reported_without_a_traceback(tmp_path, args, message):
  done = _given(tmp_path, *args)
  assert done.returncode == 2 and done.stdout == ''
  assert message in done.stderr and 'Traceback' not in done.stderr


# As in a container: a user without an entry, who may read everything here.
HOMELESS = 'import os; os.setresuid(54321, 0, 0)\n' + COMMAND


@pytest.mark.skipif(os.geteuid() != 0, reason='becomes another user')
@pytest.mark.parametrize(
  ('args', 'refused'),
  [
    (['--to=x'], '~/music'),
    (['--config.data.root=x', '--to=~/Sorted'], '~/Sorted'),
    (['--config.data.root=x', '--to=x', '~'], '~'),
  ],
)
def test_without_a_home_directory_a_tilde_is_rejected(tmp_path, args, refused):
  """It would become a folder of that name."""
  done = _given(tmp_path, *args, command=HOMELESS, without=['HOME'])
  assert done.returncode == 2
  assert f'error: {refused}: this user has no home directory' in done.stderr
  assert 'Traceback' not in done.stderr


def test_no_folder_named_tilde_is_created(tmp_path):
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
from mgc_jax.system.arguments import Command
from mgc_jax.system.errors import DataError

def main(args):
  print('x' * {size})
  {end}

command_line.run(Command('', lambda parser: None, main), 'it')
"""


def _without_reader(*command, unbuffered=''):
  """Runs a command whose output pipe is closed, as by `head`."""
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
  output = process.communicate(timeout=60)[1]
  return process.returncode, output


@pytest.mark.parametrize('size', [10, 10**6])  # failing at the end; at once
@pytest.mark.parametrize('end', ['pass', 'sys.exit(1)'])
def test_a_command_ends_silently_if_the_output_pipe_is_closed(size, end):
  found = _without_reader('-c', PRINTING.format(size=size, end=end))
  assert found == (141, '')


@pytest.mark.parametrize('unbuffered', ['', '1'])  # failing at the end; at once
def test_help_ends_silently_if_the_output_pipe_is_closed(unbuffered):
  command = ('-m', 'mgc_jax.predict', '--help')
  assert _without_reader(*command, unbuffered=unbuffered) == (141, '')


def test_an_error_is_still_reported_if_the_output_pipe_is_closed():
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
from mgc_jax.system.arguments import Command

def main(args):
  with open('mine', 'w'):
    os.write(1, b'what a C library prints')

command_line.run(Command('', lambda parser: None, main), 'it')
"""


def test_a_closed_standard_output_is_not_mistaken_for_a_file(tmp_path):
  done = _with_closed('>&-', '-c', OPENING, cwd=tmp_path)
  assert (done.returncode, done.stderr) == (0, '')
  assert (tmp_path / 'mine').read_bytes() == b''


def test_predict_without_standard_output_still_reports_failures(tmp_path):
  command = ['-m', 'mgc_jax.predict', 'none.mp3', '--engine=jax']
  done = _with_closed('>&-', *command, cwd=tmp_path)
  assert done.returncode == 1
  assert done.stderr.splitlines()[0] == 'none.mp3: no such file'


# The modules of these import some of the following.
SLOW_HELP = ('cross-validate', 'verify')
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
  ('module', 'words'),
  [
    ('mgc_jax.main', []),
    ('mgc_jax.predict', []),
    ('mgc_jax.collection', []),
    ('mgc_jax', []),
    *[('mgc_jax', [name]) for name in COMMANDS if name not in SLOW_HELP],
  ],
)
def test_help_does_not_wait_for_imports(module, words):
  code = (
    'import runpy, sys\n'
    f'sys.argv[1:] = [*{words}, "--help"]\n'
    'try:\n'
    f'  runpy.run_module("{module}", run_name="__main__")\n'
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
  assert done.returncode == 0 and '--help' in done.stdout
  assert done.stderr.split() == []
