"""The commands that a page shows, and how a test runs them sooner."""

import re
import shlex
import subprocess

import mutagen
import soundfile

from mgc_jax.config import base_config
from mgc_jax.datasets.sources import synthetic

BLOCK = re.compile(r'```(sh|python|console)\n(.*?)```', re.DOTALL)
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


def commands(text):
  """The commands of a block, a line each; of a console what is typed."""
  lines = text.replace('\\\n', ' ').splitlines()
  if any(line.startswith('$ ') for line in lines):
    lines = [line[2:] for line in lines if line.startswith('$ ')]
  return [line for line in lines if line.strip()]


def module(command):
  """The module that a command runs, or the program."""
  return re.match(r'(?:python -m )?([\w.]+)', command)[1]


def shortened(command):
  """The same command; where it trains, of a small model, and not for long."""
  if module(command) not in _TRAINS or '--mode=evaluate' in command:
    return command
  small = () if 'init_from=mgc_jax' in command else _SMALLER
  once = () if module(command) == 'mgc_jax.main' else ('--seeds=0',)
  return f'{command} {shlex.join((*_SHORTER, *small, *once))}'


def run(command, folder, env, code=0):
  """Runs it as a shell does, sees how it ends, and returns what it said."""
  done = subprocess.run(
    ['bash', '-ec', command],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
  )
  said = done.stdout + done.stderr
  assert done.returncode == code, (command, said)
  return said


def write_songs(root, genres, place, duration_s=9.0):
  """Six songs of each genre, as MP3 with tags that say who plays.

  Args:
    root: the folder.
    genres: each has the songs of one of the synthetic corpus.
    place: from the number of an artist to the path in the genre's folder.
    duration_s: of each.

  Returns:
    Of each song its path under root, genre, and artist.
  """
  sizes = base_config().data
  sizes.synthetic.num_artists, sizes.synthetic.tracks_per_artist = 6, 1
  sizes.synthetic.duration_s = duration_s
  names = dict(zip(synthetic.GENRES, genres, strict=False))
  songs = []
  for i, track in enumerate(synthetic.list_tracks(sizes)):
    if track.genre not in names:
      continue
    path = root / names[track.genre] / place(i)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, synthetic.render(track.path, 22050), 22050)
    file = mutagen.File(path, easy=True)
    file['artist'], file['title'] = f'Artist {i}', f'Song {i}'
    file.save()
    songs.append((path.relative_to(root), names[track.genre], f'Artist {i}'))
  return songs
