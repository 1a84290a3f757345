"""The pages name only modules, files, anchors and fields that exist."""

import importlib.util
import pathlib
import re

import jax
import pytest

from mgc_jax.__main__ import COMMANDS
from tests.conftest import write_tone

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
  ROOT / 'README.md',
  ROOT / 'data' / 'README.md',
  *sorted((ROOT / 'docs').glob('*.md')),
]
TEXT = '\n'.join(page.read_text() for page in PAGES)
ARCHITECTURE = ROOT / 'docs' / 'ARCHITECTURE.md'


def test_every_module_command_and_config_of_the_pages_exists():
  modules = set(re.findall(r'python -m ([\w.]+)', TEXT))
  assert 'mgc_jax.main' in modules
  for module in modules:
    assert importlib.util.find_spec(module), module
  commands = re.findall(
    r'(?:^ *|`|\$ |&& )mgc ([a-z][a-z-]*)', TEXT, re.MULTILINE
  )
  assert {'train', 'predict', 'collection'} <= set(commands) <= set(COMMANDS)
  for path in re.findall(r'--config=([\w/]+\.py)', TEXT):
    assert (ROOT / path).exists(), path


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_link_has_a_target(page):
  for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
    if link.startswith('http'):
      continue
    path, _, anchor = link.partition('#')
    target = (page.parent / path) if path else page
    assert target.exists(), link
    assert not anchor or anchor in _anchors(target.read_text()), link


def _anchors(text):
  """The anchors of a page's headings, as GitHub makes them."""
  for heading in re.findall(r'^#+ (.+)$', text, re.MULTILINE):
    yield re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def test_every_override_of_the_pages_is_a_field():
  from mgc_jax.config.schema import base_config, field

  config = base_config()
  paths = set(re.findall(r'--config\.([\w.]+)', TEXT))
  assert len(paths) > 10
  for path in paths:
    field(config, path)  # raises where there is none


def test_the_table_of_packages_has_every_module():
  rows = dict(
    re.findall(r'^\| `(\w+)` \|(.+)$', ARCHITECTURE.read_text(), re.MULTILINE)
  )
  package = ROOT / 'mgc_jax'
  folders = {path.parent.name for path in package.glob('*/__init__.py')}
  assert folders == set(rows)
  for folder in folders:
    named = set(re.findall(r'`(\w+)/?`', rows[folder]))
    there = {
      path.stem
      for path in (package / folder).iterdir()
      if path.suffix == '.py' or (path / '__init__.py').exists()
    }
    assert named == there - {'__init__', '__main__', 'command'}, folder


def test_every_path_of_the_architecture_exists():
  for path in re.findall(r'`(\w+/[\w/]*\w\.py)`', ARCHITECTURE.read_text()):
    assert any((at / path).exists() for at in (ROOT, ROOT / 'mgc_jax')), path


def _python_example(page):
  return re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL)[0]


def test_the_example_of_a_prediction_runs(tmp_path, monkeypatch, capsys):
  write_tone(tmp_path / 'song.mp3', 30.0, 22050)
  monkeypatch.chdir(tmp_path)
  names = {}
  exec(_python_example(PAGES[0]), names)
  assert names['prediction'].genre in capsys.readouterr().out


def test_the_example_of_a_model_runs():
  def logits():  # compiled as a whole, not one operation after another
    names = {}
    exec(_python_example(ARCHITECTURE), names)
    return names['logits']

  assert jax.jit(logits)().shape == (2, 3, 10)
