import ast
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'mgc_jax'
# A package imports only from packages in lines above its own. The modules that
# are directly in mgc_jax may import all of them.
LEVELS = (
  ('system',),
  ('cluster', 'config', 'distributed'),
  ('audio',),
  ('models',),
  ('features',),
  ('datasets',),
  ('evaluation',),
  ('training', 'inference'),
  ('experiments', 'collection'),
  ('demo',),
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
TOP = len(LEVELS)


def _modules():
  """Returns the file of each module of the package, by its dotted name."""
  found = {}
  for path in sorted(PACKAGE.rglob('*.py')):
    parts = path.relative_to(ROOT).with_suffix('').parts
    name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
    found[name] = path
  return found


MODULES = _modules()


def _imports(path):
  """Yields each imported module, also of imports inside functions."""
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}: use absolute imports'
      for alias in node.names:
        name = f'{node.module}.{alias.name}'
        yield name if name in MODULES else node.module


IMPORTS = {name: set(_imports(path)) for name, path in MODULES.items()}


def _package(module):
  """Returns the package of a module; '' if it is directly in mgc_jax."""
  name = module.partition('.')[2].partition('.')[0]
  return name if (PACKAGE / name).is_dir() else ''


def test_every_package_has_a_level():
  packages = {path.parent.name for path in PACKAGE.glob('*/__init__.py')}
  assert packages == set(LEVEL)


def test_packages_import_only_lower_levels():
  upward = []
  for module, found in IMPORTS.items():
    for other in sorted(found):
      if other.partition('.')[0] != 'mgc_jax':
        continue
      ours, theirs = _package(module), _package(other)
      if ours != theirs and LEVEL.get(theirs, TOP) >= LEVEL.get(ours, TOP):
        upward.append(f'{module} imports {other}')
  assert not upward


def test_there_are_no_import_cycles():
  graph = {name: found & MODULES.keys() for name, found in IMPORTS.items()}
  graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize('folder', ['configs', 'data', 'tests', 'benchmarks'])
def test_package_imports_nothing_from_the_rest_of_the_repository(folder):
  for module, found in IMPORTS.items():
    assert folder not in {name.split('.')[0] for name in found}, module


@pytest.mark.parametrize('name', ['utils.py', 'helpers.py', 'common.py'])
def test_modules_are_named_after_what_they_contain(name):
  folders = [PACKAGE, ROOT / 'benchmarks', ROOT / 'tests']
  assert not [path for folder in folders for path in folder.rglob(name)]


def test_cache_key_of_programs_covers_all_model_files():
  """`program_cache` hashes files by pattern; a moved one may drop out."""
  cache = MODULES['mgc_jax.inference.program_cache']
  patterns = [
    node.value
    for node in ast.walk(ast.parse(cache.read_text(encoding='utf-8')))
    if isinstance(node, ast.Constant) and str(node.value).endswith('.py')
  ]
  files = {pattern: set(PACKAGE.glob(pattern)) for pattern in patterns}
  assert all(files.values()), f'a pattern matches no file: {files}'
  hashed = set().union(*files.values())
  assert set((PACKAGE / 'models').rglob('*.py')) <= hashed
  assert MODULES['mgc_jax.inference.jax_export'] in hashed
  onnx_model = PACKAGE / 'inference' / 'onnx_model'
  assert set(onnx_model.glob('*.py')) <= hashed


def _documented_packages():
  """Returns the names in the column `package` of docs/ARCHITECTURE.md."""
  text = (ROOT / 'docs' / 'ARCHITECTURE.md').read_text(encoding='utf-8')
  found, in_table = [], False
  for line in text.splitlines():
    column = line.split('|')[1].strip() if line.startswith('|') else ''
    in_table = column == 'package' or (in_table and bool(column))
    if in_table:
      found += re.findall(r'`([^`]+)`', column)
  return [name.strip('/').removeprefix('mgc_jax/') for name in found]


def test_documented_packages_exist():
  for name in _documented_packages():
    assert (PACKAGE / name).is_dir(), f'{name} is not a package'


def test_no_message_has_the_repr_of_a_value():
  """tests/commands.py looks for those that are not written as `!r`."""
  for path in [*PACKAGE.rglob('*.py'), *(ROOT / 'beetsplug').glob('*.py')]:
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.FormattedValue):
        assert node.conversion == -1, f'{path}:{node.lineno}'
      if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        assert node.func.id != 'repr', f'{path}:{node.lineno}'
