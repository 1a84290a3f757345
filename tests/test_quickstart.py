"""docs/quickstart.ipynb runs from its first to its last cell."""

import re

import pytest

from tests.processes import ROOT, environment

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')
pytestmark = pytest.mark.slow
PATH = ROOT / 'docs' / 'quickstart.ipynb'
# What a reader sets in the first cell, and what a test needs no more of.
SMALL = {
  'GENRES': "('classical', 'rock')",
  'ARTISTS': '5',
  'DURATION_S': '9',
  'EPOCHS': '1',
}


def _text(cell):
  """What a code cell has printed."""
  return ''.join(
    output.text
    for output in cell.outputs
    if output.output_type == 'stream' and output.name == 'stdout'
  )


def _code(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def test_every_cell_runs(tmp_path, monkeypatch):
  notebook = nbformat.read(PATH, 4)
  cells = _code(notebook)
  for name, value in SMALL.items():
    cells[0].source, count = re.subn(
      f'(?m)^{name} = .*$', f'{name} = {value}', cells[0].source
    )
    assert count == 1, name
  for name, value in environment().items():
    monkeypatch.setenv(name, value)
  # A kernel has files of its own in the home directory.
  monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))
  client = nbclient.NotebookClient(
    notebook, timeout=300, resources={'metadata': {'path': str(tmp_path)}}
  )
  client.execute()
  assert re.search(r'window +\d+\.\d%', _text(cells[-1]))
  assert re.search(r'artist +\d+\.\d%.* \d+ tracks', _text(cells[-1]))
  pictures = [
    output
    for cell in cells
    for output in cell.outputs
    if 'image/png' in output.get('data', {})
  ]
  assert len(pictures) == 2


def test_what_is_shown_is_a_whole_run():
  """Every code cell was run, in order, and none failed."""
  cells = _code(nbformat.read(PATH, 4))
  counts = [cell.execution_count for cell in cells]
  assert counts == list(range(1, len(cells) + 1))
  outputs = [output for cell in cells for output in cell.outputs]
  assert not [x for x in outputs if x.output_type == 'error']
  assert '/tmp' not in PATH.read_text() and '/home' not in PATH.read_text()
