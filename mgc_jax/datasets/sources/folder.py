"""Lists a folder of music, `<root>/<genre>/<...>/<file>`."""

import concurrent.futures
import logging
import os
import pathlib
from collections.abc import Sequence

from tqdm import tqdm

from mgc_jax.audio import tags
from mgc_jax.audio.files import EXTENSIONS, Skipped, audio_files, no_audio
from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)


def list_tracks(data: DataConfig) -> list[Track]:
  """Lists the audio files in the folder of each genre, searched recursively.

  Links to folders are followed, including links that replace the folder of a
  genre. The artist of a track comes from the tags of its file.

  Args:
    data: `config.data`; `root` contains one folder for each genre.

  Returns:
    Tracks sorted by path; `track_id` is `<genre>/<...>/<file>`. A link to a
    file outside the root has a `problem`, unless it is inside a linked folder.

  Raises:
    ConfigError: `root` is unset.
    DataError: `root` is not a folder, has no audio files in the folders of
      genres, or a folder cannot be read.
  """
  if not data.root:
    raise ConfigError('config.data.root: not set; specify the folder of genres')
  root = pathlib.Path(data.root)
  if not root.is_dir():
    raise DataError(f'{root}: no such folder (config.data.root)')
  music = _files_of_genres(root)
  resolved_root = root.resolve()
  with concurrent.futures.ThreadPoolExecutor() as pool:  # disks may be slow
    found = pool.map(lambda file: _track(file, root, resolved_root), music)
    bar = {'unit': 'track', 'delay': 2, 'leave': False, 'disable': None}
    return list(tqdm(found, 'tags', len(music), **bar))


def probable_root(root: str, paths: Sequence[str]) -> str:
  """Returns the folder that was probably meant as the root; '' if unknown.

  Args:
    root: `config.data.root`, which seems to have only one genre.
    paths: the paths of its tracks.

  Returns:
    The parent, if the root itself contains audio files, as the folder of a
    single genre does. Otherwise the folder below the root that contains all
    tracks in several sub-folders, as `genres_original` does in Kaggle's `Data`.
  """
  root = os.path.abspath(root)
  with os.scandir(root) as entries:
    if any(entry.name.lower().endswith(EXTENSIONS) for entry in entries):
      return os.path.dirname(root)
  folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
  common = os.path.commonpath(folders)
  return '' if common in {root, *folders} else common


def _files_of_genres(root: pathlib.Path) -> list[pathlib.Path]:
  """Returns the audio files in the folders of genres, sorted by path."""

  def stop(error: OSError) -> None:
    raise error

  skipped = Skipped()
  try:
    paths = audio_files(str(root), stop, skipped)
    found = sorted(map(pathlib.Path, paths), key=lambda path: path.parts)
  except OSError as error:
    raise DataError(f'{error.filename}: {error.strerror}') from error
  music = [path for path in found if path.parent != root]
  num_loose = len(found) - len(music)
  if num_loose:
    skipped['audio files outside the folders of genres'] += num_loose
  if not music:
    meant = probable_root(str(root), []) if num_loose else ''
    raise DataError(
      f'{no_audio(str(root), skipped)}. Expected {root}/<genre>/<track>'
      + (f'; did you mean --config.data.root={meant}?' if meant else '')
    )
  if skipped:
    _logger.info('%s: %s', printable(str(root)), skipped.line())
  return music


def _track(
  file: pathlib.Path, root: pathlib.Path, resolved_root: pathlib.Path
) -> Track:
  # Names on disk may be any bytes; in records they are UTF-8 and on one line.
  name = os.fsencode(file.relative_to(root).as_posix())
  track_id = printable(name.decode('utf-8', 'backslashreplace'))
  folder = track_id.partition('/')[0]
  genre = folder.strip() or folder
  path = str(file.absolute())
  if _leads_out(file, resolved_root):
    problem = f'a link out of {root}; copy the file, or link to its folder'
    return Track(track_id, path, genre, problem=problem)
  return Track(track_id, path, genre, printable(tags.read(path)[0]))


def _leads_out(file: pathlib.Path, root: pathlib.Path) -> bool:
  """Returns whether a file is a link from inside the root to outside it.

  In a linked folder, which is outside anyway, links may lead anywhere.

  Args:
    file: the path of the file, not resolved.
    root: the resolved path of the root.
  """
  if not file.is_symlink():
    return False
  try:
    is_in_root = file.parent.resolve().is_relative_to(root)
    return is_in_root and not file.resolve().is_relative_to(root)
  except (OSError, RuntimeError):  # a cycle of links; opening it will fail
    return False
