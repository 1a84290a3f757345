"""A folder of music: `<root>/<genre>/<file>`."""

import logging
import os
import pathlib

from ml_collections import ConfigDict

from mgc_jax import audio
from mgc_jax.datasets.track import Track, printable
from mgc_jax.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)


def list_tracks(data: ConfigDict) -> list[Track]:
  """Lists the audio files of each genre's folder; no artist is known.

  Args:
    data: `config.data`; `root` is the folder of the genres' folders.

  Returns:
    Tracks by genre and name; `track_id` is `<genre>/<file>`.

  Raises:
    ConfigError: `root` is unset.
    DataError: there is no such folder, or no audio file in it.
  """
  if not data.root:
    raise ConfigError('config.data.root: unset; name the folder of genres')
  root = pathlib.Path(data.root)
  if not root.is_dir():
    raise DataError(f'{root}: no such folder (config.data.root)')
  tracks, num_ignored, resolved_root = [], 0, root.resolve()
  try:
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    files = [file for folder in folders for file in sorted(folder.iterdir())]
  except OSError as error:
    raise DataError(f'{error.filename}: {error.strerror}') from error
  for file in files:
    # Names that begin with a dot are not music (macOS: ._song.mp3).
    ending = file.suffix.lower()
    if ending not in audio.EXTENSIONS or file.name.startswith('.'):
      num_ignored += 1
      continue
    # Names need not be UTF-8 on disk; in records they are, and on one line.
    name = os.fsencode(f'{file.parent.name}/{file.name}')
    track_id = printable(name.decode('utf-8', 'backslashreplace'))
    genre = track_id.partition('/')[0]
    problem = ''
    if not _leads_into(file, resolved_root):
      problem = f'a link out of {root}; copy its file, or list it in a manifest'
    path = str(file.absolute())
    tracks.append(Track(track_id, path, genre, problem=problem))
  if num_ignored:
    _logger.info(
      '%s: %d files are no audio by name; ignored', root, num_ignored
    )
  if not tracks:
    raise DataError(
      f'{root}: no audio; expected <genre>/<track> ending in '
      + ', '.join(audio.EXTENSIONS)
    )
  return tracks


def _leads_into(file: pathlib.Path, root: pathlib.Path) -> bool:
  """Returns whether a file, links followed, lies under a folder."""
  try:
    return file.resolve().is_relative_to(root)
  except (OSError, RuntimeError):  # a loop of links; opening it says so
    return True
