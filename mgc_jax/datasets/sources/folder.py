"""A folder of music: `<root>/<genre>/<...>/<file>`."""

import concurrent.futures
import logging
import os
import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict
from tqdm import tqdm

from mgc_jax.audio import tags
from mgc_jax.audio.files import EXTENSIONS
from mgc_jax.datasets.track import Track
from mgc_jax.errors import ConfigError, DataError
from mgc_jax.names import known_artist, printable

_logger = logging.getLogger(__name__)


def list_tracks(data: ConfigDict) -> list[Track]:
  """Lists the audio files of each genre's folder, sub-folders and all.

  The artist is that of a file's own tags, in small letters; unknown where they
  name none, or nobody in particular.

  Args:
    data: `config.data`; `root` is the folder of the genres' folders.

  Returns:
    Tracks by genre and name; `track_id` is `<genre>/<...>/<file>`.

  Raises:
    ConfigError: `root` is unset.
    DataError: there is no such folder, or no audio file in it.
  """
  if not data.root:
    raise ConfigError('config.data.root: unset; name the folder of genres')
  root = pathlib.Path(data.root)
  if not root.is_dir():
    raise DataError(f'{root}: no such folder (config.data.root)')
  try:
    inside = sorted(x for x in root.iterdir() if not x.name.startswith('.'))
    folders = [path for path in inside if path.is_dir()]
    files = [file for folder in folders for file in _files(folder)]
  except OSError as error:
    raise DataError(f'{error.filename}: {error.strerror}') from error
  music = [file for file in files if _is_music(file)]
  if len(music) < len(files):
    num_ignored = len(files) - len(music)
    _logger.info(
      '%s: %d files are no audio by name; ignored', root, num_ignored
    )
  num_loose = sum(_is_music(path) for path in inside if not path.is_dir())
  if num_loose:
    _logger.warning(
      "%s: %d audio files are in no genre's folder; ignored", root, num_loose
    )
  if not music:
    raise DataError(
      f'{root}: no audio; expected <genre>/<track> ending in '
      + ', '.join(EXTENSIONS)
    )
  resolved_root = root.resolve()
  with concurrent.futures.ThreadPoolExecutor() as pool:  # disks may be slow
    found = pool.map(lambda file: _track(file, root, resolved_root), music)
    bar = {'unit': 'track', 'delay': 2, 'leave': False, 'disable': None}
    return list(tqdm(found, 'tags', len(music), **bar))


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields what is in a folder and its sub-folders, in order."""

  def refuse(error: OSError) -> None:
    raise error

  for place, folders, names in os.walk(folder, onerror=refuse):
    folders[:] = sorted(x for x in folders if not x.startswith('.'))
    for name in folders:
      if os.path.islink(os.path.join(place, name)):
        _logger.warning('%s: a link to a folder; ignored', f'{place}/{name}')
    for name in sorted(names):
      yield pathlib.Path(place) / name


def _is_music(file: pathlib.Path) -> bool:
  """Names that begin with a dot are not music (macOS: ._song.mp3)."""
  ending = file.suffix.lower()
  return ending in EXTENSIONS and not file.name.startswith('.')


def _track(
  file: pathlib.Path, root: pathlib.Path, resolved_root: pathlib.Path
) -> Track:
  # Names need not be UTF-8 on disk; in records they are, and on one line.
  name = os.fsencode(file.relative_to(root).as_posix())
  track_id = printable(name.decode('utf-8', 'backslashreplace'))
  genre = track_id.partition('/')[0]
  path = str(file.absolute())
  if not _leads_into(file, resolved_root):
    problem = f'a link out of {root}; copy its file, or list it in a manifest'
    return Track(track_id, path, genre, problem=problem)
  artist = printable(known_artist(tags.read(path)[0]))
  return Track(track_id, path, genre, artist)


def _leads_into(file: pathlib.Path, root: pathlib.Path) -> bool:
  """Returns whether a file, links followed, lies under a folder."""
  try:
    return file.resolve().is_relative_to(root)
  except (OSError, RuntimeError):  # a loop of links; opening it says so
    return True
