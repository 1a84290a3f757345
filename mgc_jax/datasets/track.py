"""What a track is, and the manifest (CSV) that lists tracks."""

import csv
import dataclasses
import os
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TextIO

from mgc_jax.config_rules import SPLITS
from mgc_jax.errors import DataError

REQUIRED_COLUMNS = ('path', 'track_id', 'genre')
_MAX_LINE_BYTES = 1 << 20  # of a manifest; a longer one would cost memory


@dataclasses.dataclass(frozen=True)
class Track:
  """One track of a source; facts only, nothing is read from its file."""

  track_id: str  # unique in its source
  path: str  # absolute; or a name that only its source understands
  genre: str
  artist: str = ''  # '' where unknown; it equals no other
  album: str = ''
  title: str = ''
  split: str = ''  # train, valid, test, or '' where the source gives none
  problem: str = ''  # why its file is not to be opened; '' where it is


def read_manifest(
  path: str | os.PathLike, root: str | os.PathLike, genres: Sequence[str] = ()
) -> list[Track]:
  """Reads a manifest.

  Args:
    path: of the CSV; UTF-8, a header line, columns `path, track_id, genre` and
      optionally `artist, album, title, split`, others ignored.
    root: the folder that relative paths start from; no path may leave it.
    genres: the genres that may occur; any where empty.

  Returns:
    The tracks in the manifest's order, paths absolute.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  path, root = pathlib.Path(path), pathlib.Path(root).resolve()
  if not root.is_dir():
    raise DataError(f'{root}: no such folder; set --config.data.root')
  seen: dict[str, tuple[int, str]] = {}
  tracks = []
  for line, row in _rows(path):
    try:
      track = _track(row, root, genres)
    except (ValueError, RuntimeError, OSError) as error:  # a loop of links
      raise DataError(f'{path}, line {line}: {error}') from error
    for key in (f'track_id {track.track_id}', f'path {track.path}'):
      if key in seen:
        first, genre = seen[key]
        raise DataError(
          f'{path}, line {line}: {key} stands in line {first} already'
          + (f', as {genre}' if genre != track.genre else '')
        )
      seen[key] = (line, track.genre)
    tracks.append(track)
  if not tracks:
    raise DataError(f'{path}: lists no track')
  return tracks


def _rows(path: pathlib.Path) -> list[tuple[int, dict[str, str]]]:
  """Returns the line number and the cells of each row."""
  if path.exists() and not path.is_file():
    raise DataError(f'{path}: not a file')
  try:
    with path.open(newline='', encoding='utf-8-sig') as file:
      reader = csv.DictReader(_lines(file), strict=True, restval='')
      columns = reader.fieldnames or ()
      missing = [name for name in REQUIRED_COLUMNS if name not in columns]
      if missing:
        raise DataError(
          f'{path}, line 1: no column {", ".join(missing)}; a manifest needs '
          + ', '.join(REQUIRED_COLUMNS)
        )
      return [(reader.line_num, row) for row in reader]
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except UnicodeDecodeError as error:
    raise DataError(f'{path}: not UTF-8 text ({error.reason})') from error
  except csv.Error as error:
    raise DataError(f'{path}, line {reader.line_num}: {error}') from error


def _lines(file: TextIO) -> Iterator[str]:
  """Yields a file's lines, and no more of one than a line may have."""
  while line := file.readline(_MAX_LINE_BYTES):
    if len(line) == _MAX_LINE_BYTES and not line.endswith('\n'):
      raise csv.Error(f'longer than {_MAX_LINE_BYTES} characters')
    yield line


def printable(text: str) -> str:
  """Returns a name for people, on one line; what no terminal shows, escaped.

  Args:
    text: a name from a disk: any bytes, as Python's file names have them.
  """
  return ''.join(
    c if c.isprintable() else c.encode('unicode_escape').decode() for c in text
  )


def _track(
  row: dict[str, str], root: pathlib.Path, genres: Sequence[str]
) -> Track:
  """Turns a row into a track; a ValueError says what is wrong with it."""
  if None in row:
    raise ValueError('more cells than columns')
  cells = {name: (cell or '').strip() for name, cell in row.items()}
  for name, cell in cells.items():
    if any(unicodedata.category(c) in ('Cc', 'Zl', 'Zp') for c in cell):
      raise ValueError(f'{name} {cell!r} holds control characters')
  for name in REQUIRED_COLUMNS:
    if not cells[name]:
      raise ValueError(f'{name} is empty')
  if genres and cells['genre'] not in genres:
    raise ValueError(
      f'unknown genre {cells["genre"]}; known: {", ".join(genres)}'
    )
  split = cells.get('split', '')
  if split not in (*SPLITS, ''):
    raise ValueError(f'split {split}: must be {", ".join(SPLITS)} or empty')
  file = (root / cells['path']).resolve()
  if not file.is_relative_to(root):
    raise ValueError(f'path {cells["path"]} leads out of {root}')
  return Track(
    track_id=cells['track_id'],
    path=str(file),
    genre=cells['genre'],
    artist=cells.get('artist', ''),
    album=cells.get('album', ''),
    title=cells.get('title', ''),
    split=split,
  )
