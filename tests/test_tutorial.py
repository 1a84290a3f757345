"""Every command of docs/TUTORIAL.md runs, in order, on a folder of music."""

import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import mutagen
import pytest
import soundfile

from mgc_jax.config import base_config
from mgc_jax.datasets.sources import synthetic
from tests.processes import ROOT, Process, environment

_BLOCK = re.compile(r'```(sh|python)\n(.*?)```', re.DOTALL)
# What a person waits for and a test does not: appended to what trains.
_SHORTER = (
  '--config.train.num_epochs=1',
  '--config.train.batch_size=8',
  '--config.eval.num_bootstrap=100',
)
_SMALLER = (
  '--config.model.num_members=1',
  '--config.model.cnn.filters=(4,4,4,4,4)',
)
_TRAINS = ('mgc_jax.main', 'mgc_jax.sweep', 'mgc_jax.ladder')


@pytest.fixture
def music(tmp_path):
  """`my music/<genre>/<artist>/<n>.mp3`, with tags that say who plays."""
  config = base_config()
  sizes = config.data.synthetic
  sizes.num_artists, sizes.tracks_per_artist, sizes.duration_s = 6, 1, 9.0
  for i, track in enumerate(synthetic.list_tracks(config.data)):
    if track.genre in synthetic.GENRES[:2]:
      path = tmp_path / 'my music' / track.genre / f'artist {i}' / f'{i}.mp3'
      path.parent.mkdir(parents=True)
      soundfile.write(path, synthetic.render(track.path, 22050), 22050)
      file = mutagen.File(path, easy=True)
      file['artist'], file['title'] = f'Artist {i}', f'Song {i}'
      file.save()
  return tmp_path / 'my music'


def _commands(text):
  """The commands of a block, a list of words each."""
  joined = text.replace('\\\n', ' ')
  return [line for line in joined.splitlines() if line.strip()]


def test_every_command_runs(music, tmp_path):
  for name in ('configs', 'mgc_jax'):
    (tmp_path / name).symlink_to(ROOT / name)
  env = environment(MUSIC=music)
  page = (ROOT / 'docs' / 'TUTORIAL.md').read_text()
  ran = []
  for language, text in _BLOCK.findall(page):
    if language == 'python':
      _run([sys.executable, '-c', text], tmp_path, env)
      continue
    for command in _commands(text):
      if command.startswith(('pip install', 'export ')):
        continue
      module = re.match(r'(?:python -m )?([\w.]+)', command)[1]
      ran.append(module)
      if module == 'mgc_jax.demo':
        _serves(command, tmp_path, music)
        continue
      if module in _TRAINS:
        command += ' ' + ' '.join(_SHORTER)
        if 'init_from' not in command:
          command += ' ' + shlex.join(_SMALLER)
      if module == 'mgc_jax.sweep':
        command += ' --seeds=0'
      _run(['bash', '-ec', command], tmp_path, env)
  assert len(ran) >= 11
  for made in (
    'genres.csv',
    'mine/results.json',
    'tuned/results.json',
    'mixup/sweep.md',
    'ladder/ladder.png',
    'report.png',
    'mine.mgc',
  ):
    assert (tmp_path / 'runs' / made).stat().st_size > 50, made
  table = (tmp_path / 'runs' / 'tracks.csv').read_text()
  assert 'Artist 3,Song 3' in table


def _run(command, folder, env):
  done = subprocess.run(
    command, cwd=folder, env=env, capture_output=True, text=True
  )
  assert done.returncode == 0, (command, done.stdout + done.stderr)


def _serves(command, folder, music):
  if not importlib.util.find_spec('gradio'):
    return  # tests/test_demo.py says that it skips
  words = [*shlex.split(command), '--port=0']
  words[0] = sys.executable
  process = Process(words, cwd=folder, MUSIC=music)
  process.wait_for(lambda: 'is open' in process.said)
  assert not process.has_ended(), process.said
  process.kill()


def test_the_test_reads_all_blocks():
  page = pathlib.Path(ROOT / 'docs' / 'TUTORIAL.md').read_text()
  assert page.count('```') == 2 * len(_BLOCK.findall(page))
