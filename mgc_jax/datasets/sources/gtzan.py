"""GTZAN: 10 genres x 100 clips of 30 s, the `.au` or the `.wav` edition.

Tzanetakis and Cook, Musical genre classification of audio signals, 2002; its
faults are those of Sturm, The GTZAN dataset, 2013.
"""

import logging
import pathlib

from ml_collections import ConfigDict

from mgc_jax.datasets.published import facts
from mgc_jax.datasets.published.archives import unpacked
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

# Of the archive, of the copy on Kaggle, or none.
_FOLDERS = ('genres', 'genres_original', 'Data/genres_original', '')
_CLIP_S = 30.0
_ENDINGS = ('.au', '.wav')


def list_tracks(data: ConfigDict) -> list[Track]:
  """Lists the tracks of a published split, present or not.

  Args:
    data: `config.data`; `root` is GTZAN's folder or its archive, and
      `protocol` names the split: track, or else artist, the fault-filtered and
      artist-disjoint lists.

  Returns:
    Tracks with `track_id` `gtzan/<genre>.<number>`; one that is not there has
    a `problem`.

  Raises:
    ConfigError: `root` is unset.
    DataError: there is no such folder or archive, or no GTZAN in it.
  """
  if not data.root:
    raise ConfigError('config.data.root: unset; name the folder of GTZAN')
  kind = 'track' if data.protocol in ('track', 'window') else 'artist'
  rows = facts.read_facts(facts.manifest_path(f'gtzan_{kind}'))
  listed = [row for row in rows if row['split']]
  if len(listed) < len(rows):
    _logger.info(
      'gtzan: %d tracks are left out as faulty', len(rows) - len(listed)
    )
  folder = genres_folder(data.root)
  return [
    make_track(row, *find(folder, row['track_id']), split=row['split'])
    for row in listed
  ]


def genres_folder(root: str) -> pathlib.Path:
  """Returns the folder of the genres' folders.

  Args:
    root: GTZAN's folder, or its archive, which is unpacked.

  Raises:
    DataError: there is none.
  """
  found = unpacked(pathlib.Path(root))
  for name in _FOLDERS:
    if (found / name / 'blues').is_dir() or (found / name / 'jazz').is_dir():
      return (found / name).absolute()
  raise DataError(f'{root}: no GTZAN; expected blues/blues.00000.au in it')


def find(folder: pathlib.Path, track_id: str) -> tuple[str, str]:
  """Returns the path of a track, and why it cannot be used or ''.

  Args:
    folder: of the genres' folders.
    track_id: `gtzan/<genre>.<number>`.
  """
  name = track_id.removeprefix('gtzan/')
  genre = name.partition('.')[0]
  paths = [folder / genre / f'{name}{ending}' for ending in _ENDINGS]
  for path in paths:
    if path.is_file():
      return str(path), ''
  return str(paths[0]), 'missing: not in this copy'


def make_track(
  row: dict[str, str], path: str, problem: str, **more: object
) -> Track:
  """Returns the track of a manifest's line.

  Args:
    row: with track_id, genre, source, artist.
    path: of its file.
    problem: why that is not to be opened, or ''.
    more: fields of `Track` that are not in the line.
  """
  digest = ''
  if path.endswith('.wav'):  # of the other edition no digests are known
    digest = f'md5:{facts.gtzan_digests()[row["track_id"]]}'
  return Track(
    **{
      'track_id': row['track_id'],
      'path': path,
      'genre': row['genre'],
      'artist': row['artist'],
      'source': row['source'],
      'duration_s': _CLIP_S,
      'digest': digest,
      'problem': problem,
      **more,
    }
  )
