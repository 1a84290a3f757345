"""The command `mgc`: its list of commands, the models, the configuration."""

import re
import shlex
import subprocess
import sys

import pytest

import mgc_jax
from mgc_jax.__main__ import COMMANDS, _parser
from mgc_jax.config import installed
from mgc_jax.config.flags import load_config
from mgc_jax.inference import list_models, pretrained
from mgc_jax.models import bundle as bundles
from tests.commands import run_command
from tests.processes import ROOT, environment


def test_version_is_printed():
  done = run_command('mgc_jax', '--version')
  assert (done.returncode, done.stdout) == (
    0,
    f'mgc_jax {mgc_jax.__version__}\n',
  )


def test_help_lists_every_command():
  done = run_command('mgc_jax', '--help')
  assert done.returncode == 0
  listed = re.findall(r'^    ([a-z][a-z-]+)', done.stdout, re.MULTILINE)
  assert listed == list(COMMANDS)


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    ([], 'required: COMMAND'),
    (['tarin'], "invalid choice: 'tarin'"),
    (['--nix', 'models'], 'unknown flag: --nix'),
    (['predict'], 'required: PATH'),
    (['collection'], 'required: COMMAND'),
    (['models', 'cnn'], 'unexpected word: cnn'),
    (['train', '--config=cnn', '--mode=evaluate'], 'unknown flag: --mode'),
  ],
)
def test_wrong_usage_is_reported_without_a_traceback(args, message):
  done = run_command('mgc_jax', *args)
  assert done.returncode == 2 and done.stdout == ''
  assert message in done.stderr and 'Traceback' not in done.stderr


def test_a_message_names_the_help_of_its_command():
  done = run_command('mgc_jax', 'collection', 'report', '--nix')
  assert 'Try: mgc collection report --help' in done.stderr


def _examples(help_text):
  """Returns the indented lines that follow the word `Example`."""
  text = help_text.partition('\nExample')[2].partition('\n\noptions:')[0]
  return ''.join(re.findall(r'^  (.*\n)', f'{text}\n', re.MULTILINE))


@pytest.mark.parametrize('name', COMMANDS)
def test_examples_in_the_help_can_be_pasted(name):
  """A shell reads them, and the command knows their flags."""
  examples = _examples(run_command('mgc_jax', name, '--help').stdout)
  assert f'mgc {name}' in examples
  assert max(map(len, examples.splitlines())) <= 100
  joined = examples.replace('\\\n', ' ')
  subprocess.run(['bash', '-n'], input=joined, text=True, check=True)
  without_shell = re.sub(r'\$\(.*?\)', 'x', joined)
  for command in re.findall(r'mgc ([^|>"\n]*)', without_shell):
    words = shlex.split(command)
    _, unknown = _parser(words).parse_known_args(words)
    assert all(x.startswith('--config') for x in unknown), unknown


def test_commands_of_the_collection_show_an_example():
  listed = run_command('mgc_jax', 'collection', '--help').stdout
  names = re.findall(r'^    ([a-z]+)', listed, re.MULTILINE)
  assert len(names) == 8
  for name in names:
    done = run_command('mgc_jax', 'collection', name, '--help')
    assert f'Example:\n  mgc collection {name}' in done.stdout


def test_a_flag_of_the_group_may_precede_the_command(tmp_path):
  for words in (
    [f'--index={tmp_path}/none', 'report'],
    ['report', f'--index={tmp_path}/none'],
  ):
    done = run_command('mgc_jax', 'collection', *words)
    assert f'{tmp_path}/none' in done.stderr


@pytest.mark.parametrize('name', pretrained.NAMES)
def test_models_states_what_the_bundle_and_its_card_have(name):
  found = list_models.facts(name)
  bundle = bundles.load(pretrained.path(name))
  assert found['genres'] == ', '.join(bundle.genres)
  assert found['parameters'] == f'{bundle.num_params:,}'
  assert re.search(r'\d+\.\d% \(95 % interval', found['accuracy'])
  assert re.search(r'\d+\.\d ?%', found['elsewhere'])
  assert 'no artist in two splits' in found['accuracy']
  assert 'research' in found['licence']
  output = run_command('mgc_jax', 'models').stdout
  words = ' '.join(output.split())
  for what in found.values():
    assert what in words


def test_config_shows_fields_and_overrides():
  assert run_command('mgc_jax', 'config').returncode == 0
  done = run_command(
    *('mgc_jax', 'config', '--config=crnn', '--config.train.num_epochs=77')
  )
  assert 'num_epochs' in done.stdout and '77' in done.stdout
  done = run_command('mgc_jax', 'config', '--config.train.num_epochs=0')
  assert done.returncode == 2 and 'num_epochs=0: must be' in done.stderr


@pytest.mark.parametrize('name', ['crnn', 'baseline/cnn', 'smoke'])
def test_a_config_is_found_by_its_name(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  wanted = load_config(str(ROOT / 'configs' / f'{name}.py'))
  for spelling in (name, f'{name}.py', f'configs/{name}.py'):
    assert load_config(spelling) == wanted


def test_a_config_file_that_exists_is_used(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'configs').mkdir()
  text = (ROOT / 'configs' / 'smoke.py').read_text()
  changed = text.replace('num_epochs = 2', 'num_epochs = 5')
  (tmp_path / 'configs' / 'smoke.py').write_text(changed)
  assert load_config('configs/smoke.py').train.num_epochs == 5
  assert load_config('smoke').train.num_epochs == 2


def test_the_installed_folders_exist():
  assert (installed.folder('configs') / 'crnn.py').is_file()
  assert (installed.folder('data') / 'manifests' / 'gtzan_artist.csv').is_file()


@pytest.mark.parametrize(
  ('line', 'found'),
  [
    ('mgc pre', ['predict', 'prepare']),
    ('mgc predict --str', ['--strict']),
    ('mgc predict --format=j', ['--format=json']),
    ('mgc collection p', ['playlist']),
    ('mgc collection similar --d', ['--diverse']),
  ],
)
def test_a_shell_completes_words(line, found, tmp_path):
  pytest.importorskip('argcomplete')
  output = tmp_path / 'completions'
  done = subprocess.run(
    [sys.executable, '-m', 'mgc_jax'],
    env=environment(
      _ARGCOMPLETE='1',
      _ARGCOMPLETE_IFS='\n',
      _ARGCOMPLETE_STDOUT_FILENAME=output,
      COMP_LINE=line,
      COMP_POINT=len(line),
    ),
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert done.returncode == 0, done.stderr
  words = output.read_text().split('\n')
  assert [word.rstrip(' ') for word in words] == found
