"""What README shows exists and runs."""

import importlib.util
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
TEXT = '\n'.join(page.read_text() for page in PAGES)


def test_every_module_config_and_page_that_is_named_exists():
  modules = set(re.findall(r'python -m ([\w.]+)', TEXT))
  assert {'mgc_jax.main', 'mgc_jax.datasets.prepare'} <= modules
  for module in modules:
    assert importlib.util.find_spec(module), module
  for path in re.findall(r'--config=([\w/]+\.py)', TEXT):
    assert (ROOT / path).exists(), path
  for path in re.findall(r'\]\(([\w/.]+)\)', PAGES[0].read_text()):
    assert (ROOT / path).exists(), path


def test_every_override_that_is_named_is_a_field():
  from mgc_jax.config import base_config, field

  config = base_config()
  paths = set(re.findall(r'--config\.([\w.]+)', TEXT))
  assert len(paths) > 10
  for path in paths:
    field(config, path)  # raises where there is none


def test_the_python_example_runs():
  (code,) = re.findall(r'```python\n(.*?)```', PAGES[0].read_text(), re.DOTALL)
  names = {}
  exec(code, names)
  assert names['logits'].shape == (2, 3, 10)
