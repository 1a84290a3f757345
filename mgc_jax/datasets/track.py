"""What a track is, and the manifest (CSV) that lists tracks."""

import csv
import dataclasses
import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TextIO

from mgc_jax.config_rules import SPLITS
from mgc_jax.errors import DataError

REQUIRED_COLUMNS = ('path', 'track_id', 'genre')
_SCHEME = re.compile('(gs|s3)://')
_DIGEST = re.compile('(md5|sha1|sha256):[0-9a-f]+')
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
  source: str = ''  # the collection it is from, where there are several
  window_splits: tuple[str, ...] = ()  # of its windows, where they have each
  duration_s: float = 0.0  # that its file should have; 0 where unknown
  digest: str = ''  # of its file, <algorithm>:<hexadecimal>; '' where unknown
  problem: str = ''  # why its file is not to be opened; '' where it is


def read_manifest(
  path: str | os.PathLike, root: str | os.PathLike, genres: Sequence[str] = ()
) -> list[Track]:
  """Reads a manifest.

  Args:
    path: of the CSV; UTF-8, a header line, columns `path, track_id, genre` and
      optionally `artist, album, title, source, split, duration_s, digest`
      (`md5:`, `sha1:` or `sha256:` and hexadecimal), others ignored.
    root: the folder that relative paths start from, also a remote one; no path
      may leave it.
    genres: the genres that may occur; any where empty.

  Returns:
    The tracks in the manifest's order, paths absolute.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  path, root = pathlib.Path(path), os.fspath(root)
  if not is_remote(root) and not os.path.isdir(root):
    raise DataError(f'{root}: no such folder; set --config.data.root')
  seen: dict[str, tuple[int, str]] = {}
  tracks = []
  for line, row in read_rows(path, REQUIRED_COLUMNS):
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


def read_rows(
  path: pathlib.Path, required: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
  """Returns the line number and the cells of each row of a CSV.

  Args:
    path: of the file; UTF-8, a header line.
    required: columns that must be there.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  try:
    if path.exists() and not path.is_file():
      raise DataError(f'{path}: not a file')
    with path.open(newline='', encoding='utf-8-sig') as file:
      reader = csv.DictReader(_lines(file), strict=True, restval='')
      columns = reader.fieldnames or ()
      missing = [name for name in required if name not in columns]
      if missing:
        raise DataError(
          f'{path}, line 1: no column {", ".join(missing)}; needed: '
          + ', '.join(required)
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


def is_remote(path: str) -> bool:
  """Returns whether a path names another machine: `gs://...`, `s3://...`."""
  return bool(_SCHEME.match(path))


def _track(row: dict[str, str], root: str, genres: Sequence[str]) -> Track:
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
  digest = cells.get('digest', '')
  if digest and not _DIGEST.fullmatch(digest):
    raise ValueError(f'digest {digest}: must be like md5:0123abcd')
  duration_s = float(cells.get('duration_s') or 0)
  if not 0 <= duration_s < math.inf:
    raise ValueError(f'duration_s {duration_s}: must be positive')
  return Track(
    track_id=cells['track_id'],
    path=_place(cells['path'], root),
    genre=cells['genre'],
    artist=cells.get('artist', ''),
    album=cells.get('album', ''),
    title=cells.get('title', ''),
    split=split,
    source=cells.get('source', ''),
    duration_s=duration_s,
    digest=digest,
  )


def _place(cell: str, root: str) -> str:
  """Returns where a file lies; a ValueError where that is out of the root."""
  if is_remote(root):
    path = pathlib.PurePosixPath(cell)
    leads_out = path.is_absolute() or '..' in path.parts or '://' in cell
    found = f'{root.rstrip("/")}/{path}'
  else:
    folder = pathlib.Path(root).resolve()
    path = (folder / cell).resolve()
    leads_out = not path.is_relative_to(folder)
    found = str(path)
  if leads_out:
    raise ValueError(f'path {cell} leads out of {root}')
  return found
