"""GTZAN: 10 genres x 100 clips of 30 s, in its `.au` or `.wav` edition.

Tzanetakis and Cook, Musical genre classification of audio signals, 2002; the
known faults are from Sturm, The GTZAN dataset, 2013.
"""

import logging
import pathlib

from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.published import facts
from mgc_jax.datasets.published.archives import unpacked
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

# In the archive, in the copy on Kaggle, or the root itself.
_FOLDERS = ('genres', 'genres_original', 'Data/genres_original', '')
_CLIP_S = 30.0
_ENDINGS = ('.au', '.wav')


def list_tracks(data: DataConfig) -> list[Track]:
  """Lists the tracks of a published split, even if files are missing.

  Args:
    data: `config.data`; `root` is GTZAN's folder or its archive. `protocol`
      selects the split: track (also for window), otherwise artist, the
      fault-filtered and artist-disjoint one.

  Returns:
    Tracks with `track_id` `gtzan/<genre>.<number>`; missing ones have a
    `problem`.

  Raises:
    ConfigError: `root` is unset.
    DataError: `root` is neither a folder nor an archive, or is not GTZAN's.
  """
  if not data.root:
    raise ConfigError('config.data.root: not set; specify the folder of GTZAN')
  kind = 'track' if data.protocol in ('track', 'window') else 'artist'
  rows = facts.read_facts(facts.manifest_path(f'gtzan_{kind}'))
  listed = [row for row in rows if row['split']]
  if len(listed) < len(rows):
    _logger.info(
      'gtzan: %d tracks are known to be faulty; skipped',
      len(rows) - len(listed),
    )
  folder = genres_folder(data.root)
  return [
    make_track(row, *find(folder, row['track_id']), split=row['split'])
    for row in listed
  ]


def genres_folder(root: str) -> pathlib.Path:
  """Returns the folder that contains the folders of the genres.

  Args:
    root: GTZAN's folder, or its archive, which is unpacked first.

  Raises:
    DataError: there is none.
  """
  found = unpacked(pathlib.Path(root))
  for name in _FOLDERS:
    if (found / name / 'blues').is_dir() or (found / name / 'jazz').is_dir():
      return (found / name).absolute()
  raise DataError(f'{root}: not GTZAN; expected blues/blues.00000.au in it')


def find(folder: pathlib.Path, track_id: str) -> tuple[str, str]:
  """Returns the path of a track, and why it cannot be used or ''.

  Args:
    folder: what `genres_folder` returned.
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
  """Returns the track for a row of a published manifest.

  Args:
    row: its track_id, genre, source and artist.
    path: the path of its file.
    problem: why the file must not be opened, or ''.
    more: other fields of `Track`, which override those of the row.
  """
  digest = ''
  if path.endswith('.wav'):  # the digests of the other edition are unknown
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
