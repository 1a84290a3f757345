"""Every command of docs/TUTORIAL.md runs, in order, on a folder of music."""

import shlex
import sys

import pytest

from tests import pages
from tests.commands import train_here
from tests.processes import ROOT, environment

PAGE = (ROOT / 'docs' / 'TUTORIAL.md').read_text()


def _shortened(command):
  """With a small model, and one fold in place of three."""
  return pages.shortened(command.replace('fold=0,1,2', 'fold=0'))


@pytest.mark.slow
def test_every_command_runs(tmp_path, monkeypatch):
  music = tmp_path / 'my music'
  pages.write_songs(music, ('a', 'b'), lambda i: f'artist {i}/{i}.mp3')
  for name in ('configs', 'mgc_jax'):
    (tmp_path / name).symlink_to(ROOT / name)
  env = environment(MUSIC=music, PWD=tmp_path)
  train_here(monkeypatch)
  ran = []
  for language, text in pages.BLOCK.findall(PAGE):
    if language == 'python':
      pages.run(shlex.join([sys.executable, '-c', text]), tmp_path, env)
      continue
    for command in pages.commands(text):
      if command.startswith(('pip install', 'export ')):
        continue
      if pages.name(command) == 'demo':
        continue  # tests/test_demo.py runs it
      ran.append(pages.name(command))
      pages.run_quickly(_shortened(command), tmp_path, env)
  assert len(ran) >= 10
  for made in (
    'genres.csv',
    'mine/results.json',
    'tuned/results.json',
    'mixup/sweep.md',
    'leakage/leakage.png',
    'report.png',
    'mine.mgc',
  ):
    assert (tmp_path / 'runs' / made).stat().st_size > 50, made
  table = (tmp_path / 'runs' / 'tracks.csv').read_text()
  assert 'artist 3,Song 3' in table


def test_the_test_reads_all_blocks():
  assert PAGE.count('```') == 2 * len(pages.BLOCK.findall(PAGE))
