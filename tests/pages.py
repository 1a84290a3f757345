"""The commands that a page shows, and how tests run them in shortened form."""

import pathlib
import re
import shlex
import subprocess

import mutagen
import soundfile

from mgc_jax.config.schema import base_config
from mgc_jax.datasets.sources import synthetic
from tests.commands import run_command

BLOCK = re.compile(r'```(sh|python|console)\n(.*?)```', re.DOTALL)
# Settings that shorten training, appended to commands that train.
_SHORTER = (
  '--config.train.num_epochs=1',
  '--config.train.batch_size=8',
  '--config.eval.num_bootstrap=100',
)
_SMALLER = (
  '--config.model.num_members=1',
  '--config.model.cnn.filters=(4,4,4,4,4)',
)
# Features and models that take seconds, for commands that read a config file.
_TINY = (
  '--config.features.sample_rate_hz=8000',
  '--config.features.max_frequency_hz=4000',
  '--config.features.fft_samples=512',
  '--config.features.hop_samples=512',
  '--config.features.num_bands=20',
  '--config.features.excerpt_s=6',
  '--config.windows.num_frames=32',
  '--config.windows.hop_frames=16',
  '--config.windows.num_windows=2',
  '--config.model.cnn.filters=(4,4)',
  '--config.model.cnn.pool_frames=(2,2)',
  '--config.model.cnn.pool_bands=(2,2)',
  '--config.model.cnn.dropout=(0.0,0.0)',
  '--config.model.lstm.hidden_size=8',
  '--config.model.dense.sizes=(7,)',
  '--config.data.num_workers=1',
)
_TRAINS = ('train', 'sweep', 'leakage')
# Starting a process takes longer than what these do on a few songs.
_IMPORTS_TENSORFLOW = (*_TRAINS, 'evaluate', 'prepare', 'probe', 'verify')


def commands(text):
  """Returns the commands of a block; of a console, without their output."""
  lines = re.sub(r' *\\\n *', ' ', text).splitlines()
  if any(line.startswith('$ ') for line in lines):
    lines = [line[2:] for line in lines if line.startswith('$ ')]
  return [line for line in lines if line.strip()]


def name(command):
  """The name of the command of `mgc`, or the program that is run."""
  mgc = re.match(r'(?:mgc|python -m mgc_jax[ .]) *([\w-]+)', command)
  if not mgc:
    return re.match(r'(?:python -m )?([\w.]+)', command)[1]
  if mgc[1] == 'main':
    return 'evaluate' if '--mode=evaluate' in command else 'train'
  return mgc[1]


def shortened(command, smaller=_SMALLER):
  """Returns a command; if it trains, with a small model and few epochs."""
  if name(command) not in _TRAINS:
    return command
  small = () if 'init_from=mgc_jax' in command else smaller
  once = () if name(command) == 'train' else ('--seeds=0',)
  return f'{command} {shlex.join((*_SHORTER, *small, *once))}'


def tiny(command):
  """Returns a shortened command with tiny features; it takes seconds."""
  command = command.replace(
    'mgc_jax/inference/pretrained/cnn', 'runs/mine/bundle'
  )
  command = shortened(command, ('--config.model.num_members=1',))
  if '--config=' not in command:
    return command
  return f'{command} {shlex.join(_TINY)}'


def run_here(command, folder, env, code=0):
  """Like `run`, but runs a single Python command in this process."""
  command = re.sub(r'^mgc ', 'python -m mgc_jax ', command)
  match = re.fullmatch(r'python -m ([^|&;]*?)(?: > (\S+))?', command)
  if not match or '--distributed' in command:
    return run(command, folder, env, code)
  # A shell expands variables, patterns and quotes.
  expanded = subprocess.run(
    ['bash', '-ec', f"printf '%s\\0' {match[1]}"],
    cwd=folder,
    env=env,
    capture_output=True,
    check=True,
  )
  words = expanded.stdout.decode().split('\0')[:-1]
  done = run_command(*words, cwd=folder, **env)
  assert done.returncode == code, (command, done.stdout + done.stderr)
  if match[2]:
    (pathlib.Path(folder) / match[2]).write_text(done.stdout)
  return done.stdout + done.stderr


def run_quickly(command, folder, env, code=0):
  """Runs commands with slow imports in this process, others in a shell."""
  is_here = name(command) in _IMPORTS_TENSORFLOW
  return (run_here if is_here else run)(command, folder, env, code)


def run(command, folder, env, code=0):
  """Runs it in a shell, checks its exit code, and returns its output."""
  done = subprocess.run(
    ['bash', '-ec', command],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
  )
  output = done.stdout + done.stderr
  assert done.returncode == code, (command, output)
  return output


def write_songs(root, genres, place, duration_s=9.0):
  """Writes six songs of each genre, as MP3 with the artist in their tags.

  Args:
    root: the folder to write to.
    genres: names for the first genres of the synthetic corpus.
    place: returns the path in the genre's folder for an artist's number.
    duration_s: length of each song.

  Returns:
    The path under root, the genre and the artist of each song.
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
