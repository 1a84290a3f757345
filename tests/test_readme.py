"""What README shows exists and runs."""

import importlib.util
import pathlib
import re

from mgc_jax.__main__ import COMMANDS
from tests.conftest import write_tone

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
TEXT = '\n'.join(page.read_text() for page in PAGES)


def test_every_module_config_and_page_that_is_named_exists():
  modules = set(re.findall(r'python -m ([\w.]+)', TEXT))
  for module in modules:
    assert importlib.util.find_spec(module), module
  commands = set(re.findall(r'(?:^|`|\$ |&& |\| )mgc ([a-z-]+)', TEXT, re.M))
  assert {'train', 'predict', 'prepare'} <= commands <= set(COMMANDS)
  for path in re.findall(r'--config=([\w/]+\.py)', TEXT):
    assert (ROOT / path).exists(), path
  for path in re.findall(r'\]\(([\w/.]+)\)', PAGES[0].read_text()):
    assert (ROOT / path).exists(), path


def test_every_override_that_is_named_is_a_field():
  from mgc_jax.config.schema import base_config, field

  config = base_config()
  paths = set(re.findall(r'--config\.([\w.]+)', TEXT))
  assert len(paths) > 10
  for path in paths:
    field(config, path)  # raises where there is none


def _python_examples():
  return re.findall(r'```python\n(.*?)```', PAGES[0].read_text(), re.DOTALL)


def test_the_example_of_an_answer_runs(tmp_path, monkeypatch, capsys):
  write_tone(tmp_path / 'song.mp3', 30.0, 22050)
  monkeypatch.chdir(tmp_path)
  names = {}
  exec(_python_examples()[0], names)
  assert names['answer'].genre in capsys.readouterr().out


def test_the_example_of_a_model_runs():
  names = {}
  exec(_python_examples()[1], names)
  assert names['logits'].shape == (2, 3, 10)
