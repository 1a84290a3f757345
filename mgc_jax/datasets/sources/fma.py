"""FMA, the Free Music Archive: small, medium, large or full.

Defferrard et al., FMA: A dataset for music analysis, 2017. Its splits are
artist-disjoint.
"""

import csv
import logging
import pathlib
from collections.abc import Iterator

from mgc_jax.audio.names import known_artist
from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.published import facts
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)

SUBSETS = ('small', 'medium', 'large', 'full')  # each includes the previous
_CLIP_S = 30.0  # of small, medium and large; full has whole tracks
_SPLITS = {'training': 'train', 'validation': 'valid', 'test': 'test'}
_COLUMNS = {
  'genre': ('track', 'genre_top'),
  'split': ('set', 'split'),
  'subset': ('set', 'subset'),
  'artist_id': ('artist', 'id'),
  'artist_name': ('artist', 'name'),
  'duration_s': ('track', 'duration'),
  'album': ('album', 'title'),
  'title': ('track', 'title'),
}


def list_tracks(data: DataConfig) -> list[Track]:
  """Lists the tracks of a subset that have a genre, even if files are missing.

  Args:
    data: `config.data`; `root` is a folder that contains `fma_metadata` and
      `fma_<subset>`, or `fma_<subset>` itself with `fma_metadata` beside it.

  Returns:
    Tracks with `track_id` `fma/<number>`, sorted by number. Missing tracks and
    those that are known to be silent or short have a `problem`.

  Raises:
    ConfigError: `root` is unset.
    DataError: `tracks.csv` is missing or is not FMA's.
  """
  if not data.root:
    raise ConfigError('config.data.root: not set; specify the folder of FMA')
  wanted = SUBSETS[: 1 + SUBSETS.index(data.subset)]
  folder = audio_folder(data.root, data.subset)
  digests = digests_of(folder)
  tracks, num_without_genre = [], 0
  for number, row in _rows(_metadata_path(data.root)):
    if row['subset'] not in wanted:
      continue
    if not row['genre']:
      num_without_genre += 1
      continue
    path, problem = find(folder, f'fma/{number}')
    tracks.append(
      Track(
        f'fma/{number}',
        path,
        row['genre'],
        artist=_artist(row),
        album=row['album'],
        title=row['title'],
        split=_SPLITS.get(row['split'], ''),
        source='fma',
        duration_s=_duration_s(row) if data.subset == 'full' else _CLIP_S,
        digest=digests.get(pathlib.Path(path).name, ''),
        problem=problem,
      )
    )
  if num_without_genre:
    _logger.info('fma: %d tracks without a genre; skipped', num_without_genre)
  if not tracks:
    raise DataError(f'{data.root}: tracks.csv lists no track of {data.subset}')
  return tracks


def _artist(row: dict[str, str]) -> str:
  """Returns a unique name of the artist, as two artists may share a name."""
  name, number = row['artist_name'], row['artist_id']
  is_various = name and not known_artist(name)  # such names have a number too
  return f'{name} ({number})' if number and not is_various else name


def digests_of(folder: pathlib.Path) -> dict[str, str]:
  """Returns the digests in the archive's file `checksums`, by file name.

  Args:
    folder: what `audio_folder` returned.
  """
  try:
    text = (folder / 'checksums').read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError):
    return {}
  lines = [line.split() for line in text.splitlines()]
  return {
    pathlib.Path(line[1]).name: f'sha1:{line[0]}'
    for line in lines
    if len(line) == 2
  }


def _duration_s(row: dict[str, str]) -> float:
  """Returns the length of a whole track; 0 if the table lacks it."""
  return float(row['duration_s']) if row['duration_s'].isdecimal() else 0.0


def audio_folder(root: str, subset: str) -> pathlib.Path:
  """Returns the folder that contains `000`, `001`, ...

  Args:
    root: that folder, or its parent.
    subset: one of `SUBSETS`; the folder of a larger one serves as well.

  Raises:
    DataError: `root` is not a folder.
  """
  path = pathlib.Path(root).absolute()
  if not path.is_dir():
    raise DataError(f'{root}: no such folder')
  for name in SUBSETS[SUBSETS.index(subset) :]:
    if (path / f'fma_{name}').is_dir():
      return path / f'fma_{name}'
  return path


def find(folder: pathlib.Path, track_id: str) -> tuple[str, str]:
  """Returns the path of a track, and why it cannot be used or ''.

  Args:
    folder: what `audio_folder` returned.
    track_id: `fma/<number>`.
  """
  number = int(track_id.removeprefix('fma/'))
  path = folder / f'{number // 1000:03d}' / f'{number:06d}.mp3'
  fault = facts.unreadable_fma().get(track_id)
  if fault:
    return str(path), f'known to be {fault}'
  return str(path), '' if path.is_file() else 'missing: not in this copy'


def _metadata_path(root: str) -> pathlib.Path:
  path = pathlib.Path(root).absolute()
  places = [path / 'fma_metadata', path.parent / 'fma_metadata', path]
  for place in places:
    if (place / 'tracks.csv').is_file():
      return place / 'tracks.csv'
  raise DataError(
    f'{root}: no fma_metadata/tracks.csv in it or beside it; fetch it with '
    'mgc fetch fma_metadata --to=DIR'
  )


def _rows(path: pathlib.Path) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields the number and columns of each track; skips the two header rows."""
  try:
    with path.open(newline='', encoding='utf-8') as file:
      reader = csv.reader(file, strict=True)
      header = list(zip(next(reader), next(reader), strict=True))
      missing = [c for c in _COLUMNS.values() if c not in header]
      if missing:
        names = ', '.join('/'.join(c) for c in missing)
        raise DataError(f'{path}: no column {names}; not the tracks.csv of FMA')
      places = {name: header.index(c) for name, c in _COLUMNS.items()}
      for cells in reader:
        # A third header row with the name of the index, or an empty line.
        if not cells or not cells[0].isdecimal():
          continue
        yield (
          int(cells[0]),
          {name: printable(cells[i].strip()) for name, i in places.items()},
        )
  except DataError:
    raise
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except (csv.Error, IndexError, StopIteration, ValueError) as error:
    raise DataError(f'{path}: not the tracks.csv of FMA ({error})') from error
