"""What a track is, and the manifest (CSV) that lists tracks.

Manifests are read as spreadsheets write them: separated by commas, semicolons
or tabs, in UTF-8, UTF-16 or Windows-1252, with the paths of either system.
"""

import codecs
import collections
import csv
import dataclasses
import itertools
import logging
import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TextIO

from mgc_jax.audio.names import known_artist, known_spelling
from mgc_jax.config.rules import SPLITS
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import is_shown, printable

_logger = logging.getLogger(__name__)

REQUIRED_COLUMNS = ('path', 'track_id', 'genre')
_SCHEME = re.compile('(gs|s3)://')
_DIGEST = re.compile('(md5|sha1|sha256):[0-9a-f]+')
_DELIMITERS = ',;\t'
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DRIVE = re.compile(r'[A-Za-z]:[\\/]')  # of Windows
_BLOCK_BYTES = 1 << 16
_MAX_LINE_CHARACTERS = 1 << 20  # of a manifest; a longer one would cost memory


@dataclasses.dataclass(frozen=True)
class Track:
  """One track of a source; facts only, nothing is read from its file."""

  track_id: str  # unique in its source
  path: str  # absolute; or a name that only its source understands
  genre: str
  # Of any spelling; kept in the form of `names.known_artist`, in which artists
  # are compared. '' where unknown; it equals no other.
  artist: str = ''
  album: str = ''
  title: str = ''
  split: str = ''  # train, valid, test, or '' where the source gives none
  source: str = ''  # the collection it is from, where there are several
  window_splits: tuple[str, ...] = ()  # of its windows, where they have each
  duration_s: float = 0.0  # that its file should have; 0 where unknown
  digest: str = ''  # of its file, <algorithm>:<hexadecimal>; '' where unknown
  problem: str = ''  # why its file is not to be opened; '' where it is

  def __post_init__(self) -> None:
    """Normalises the artist, so that nobody compares spellings."""
    object.__setattr__(self, 'artist', known_artist(self.artist))


def read_manifest(
  path: str | os.PathLike, root: str | os.PathLike, genres: Sequence[str] = ()
) -> list[Track]:
  """Reads a manifest.

  Args:
    path: of the CSV, as `read_rows` reads it, with the columns `path, track_id,
      genre` and optionally `artist, album, title, source, split, duration_s,
      digest` (`md5:`, `sha1:` or `sha256:` and hexadecimal). Other columns are
      ignored.
    root: the folder that relative paths start from, which may be remote. No
      path may leave it.
    genres: the genres that may occur; any where empty. A genre that differs
      from one of them only in case, Unicode form or spaces becomes that one.

  Returns:
    The tracks in the manifest's order, with absolute paths.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  path, root = pathlib.Path(path), os.fspath(root)
  if not is_remote(root) and not os.path.isdir(root):
    raise DataError(f'{root}: no such folder; set --config.data.root')
  places = _Places(root)
  seen: dict[str, tuple[int, str]] = {}
  tracks = []
  for line, row in read_rows(path, REQUIRED_COLUMNS):
    try:
      track = _track(row, places, genres)
    except (ValueError, RuntimeError, OSError) as error:  # a loop of links
      raise DataError(f'{path}, line {line}: {error}') from error
    for key in (f'track_id {track.track_id}', f'path {track.path}'):
      if key in seen:
        first, genre = seen[key]
        raise DataError(
          f'{path}, line {line}: {key} is already in line {first}'
          + (f', as {genre}' if genre != track.genre else '')
        )
      seen[key] = (line, track.genre)
    tracks.append(track)
  if not tracks:
    raise DataError(f'{path}: lists no tracks')
  return tracks


def read_rows(
  path: pathlib.Path, required: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
  """Returns the line number and the cells of each row of a CSV.

  Args:
    path: of the file. The header line says whether commas, semicolons or tabs
      separate its columns; their names may be in any case. The text is UTF-8,
      UTF-16 with a byte-order mark, or Windows-1252.
    required: columns that must be there.

  Returns:
    The rows that are not empty. Column names are in lower case and cells have
    no white space at their ends; a row that has more cells than there are
    columns has them under the name ''.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  try:
    with path.open(newline='', encoding=_encoding(path)) as file:
      return list(_rows(file, path, required))
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except UnicodeDecodeError as error:
    raise DataError(
      f'{path}: not text in UTF-8, UTF-16 or Windows-1252 ({error.reason}); '
      'save the table as "CSV UTF-8"'
    ) from error


def _encoding(path: pathlib.Path) -> str:
  """Returns the encoding of a file, which is read once for that."""
  if path.exists() and not path.is_file():
    raise DataError(f'{path}: not a file')
  decoder = codecs.getincrementaldecoder('utf-8')()
  with path.open('rb') as file:
    if file.read(2) in _UTF16_MARKS:
      return 'utf-16'
    file.seek(0)
    try:
      while block := file.read(_BLOCK_BYTES):
        decoder.decode(block)
      decoder.decode(b'', final=True)
    except UnicodeDecodeError:
      _logger.warning(
        '%s: not UTF-8, so it is read as Windows-1252; if names with accents '
        'look wrong, save the table as "CSV UTF-8"',
        path,
      )
      return 'cp1252'
  return 'utf-8-sig'


def _lines(file: TextIO, path: pathlib.Path) -> Iterator[str]:
  """Yields a file's lines, and no more of one than a line may have."""
  for number in itertools.count(1):
    line = file.readline(_MAX_LINE_CHARACTERS)
    if not line:
      return
    if len(line) == _MAX_LINE_CHARACTERS and line[-1] not in '\r\n':
      raise DataError(
        f'{path}, line {number}: longer than {_MAX_LINE_CHARACTERS} characters'
      )
    yield line


def _rows(
  file: TextIO, path: pathlib.Path, required: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields what `read_rows` returns."""
  lines = _lines(file, path)
  header = next(lines, '')
  reader = csv.reader(
    itertools.chain([header], lines),
    delimiter=_delimiter(header, required),
    skipinitialspace=True,
    strict=True,
  )
  try:
    columns = _columns(next(reader, []), required, path)
    for cells in reader:
      cells = [cell.strip() for cell in cells]
      if any(cells):
        yield reader.line_num, _named(cells, columns)
  except csv.Error as error:
    raise DataError(f'{path}, line {reader.line_num}: {error}') from error


def _delimiter(header: str, required: Sequence[str]) -> str:
  """Returns the delimiter by which most of the required columns are found."""

  def num_found(delimiter: str) -> int:
    try:
      cells = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:  # a cell that is too long
      return 0
    return len(set(required) & set(map(_column, cells)))

  return max(_DELIMITERS, key=num_found)


def _column(cell: str) -> str:
  return cell.strip().strip('"').strip().casefold()


def _columns(
  header: list[str], required: Sequence[str], path: pathlib.Path
) -> list[str]:
  """Returns the names of the columns, checked."""
  columns = list(map(_column, header))
  missing = [name for name in required if name not in columns]
  if missing:
    raise DataError(
      f'{path}, line 1: no column {", ".join(missing)}; needed: '
      + ', '.join(required)
    )
  counts = collections.Counter(filter(None, columns))
  twice = [printable(name) for name, count in counts.items() if count > 1]
  if twice:
    raise DataError(
      f'{path}, line 1: more than one column is called {", ".join(twice)}; '
      'rename or delete the others'
    )
  return columns


def _named(cells: list[str], columns: list[str]) -> dict[str, str]:
  """Returns the cells by their columns; see `read_rows`."""
  row = dict(
    itertools.zip_longest(columns, cells[: len(columns)], fillvalue='')
  )
  row.pop('', None)  # a column without a name
  if any(cells[len(columns) :]):
    row[''] = ' '.join(cells[len(columns) :])
  return row


def is_remote(path: str) -> bool:
  """Returns whether a path names another machine: `gs://...`, `s3://...`."""
  return bool(_SCHEME.match(path))


def _track(
  row: dict[str, str], places: '_Places', genres: Sequence[str]
) -> Track:
  """Turns a row into a track; a ValueError says what is wrong with it."""
  if '' in row:
    raise ValueError('more cells than columns')
  for name, cell in row.items():
    if not all(map(is_shown, cell)):
      raise ValueError(
        f'{printable(name)} {cell!r} contains control characters'
      )
  for name in REQUIRED_COLUMNS:
    if not row[name]:
      raise ValueError(f'{name} is empty')
  genre = known_spelling(row['genre'], genres) if genres else row['genre']
  if not genre:
    raise ValueError(
      f'unknown genre {row["genre"]}; known: {", ".join(genres)}'
    )
  split = row.get('split', '')
  if split not in (*SPLITS, ''):
    raise ValueError(f'split {split}: must be {", ".join(SPLITS)} or empty')
  digest = row.get('digest', '')
  if digest and not _DIGEST.fullmatch(digest):
    raise ValueError(f'digest {digest}: must be like md5:0123abcd')
  return Track(
    track_id=row['track_id'],
    path=places.find(row['path']),
    genre=genre,
    artist=row.get('artist', ''),
    album=row.get('album', ''),
    title=row.get('title', ''),
    split=split,
    source=row.get('source', ''),
    duration_s=_seconds(row.get('duration_s', '')),
    digest=digest,
  )


def _seconds(cell: str) -> float:
  """Returns a duration; 0 where the cell is empty."""
  try:
    seconds = float(cell.replace(',', '.') or 0)  # 3,5 as Europe writes it
  except ValueError as error:
    raise ValueError(f'duration_s {cell}: not a number of seconds') from error
  if not 0 <= seconds < math.inf:
    raise ValueError(f'duration_s {cell}: must be positive')
  return seconds


class _Places:
  """Finds the files that the cells of a manifest mean, all under one root."""

  def __init__(self, root: str):
    """Begins with nothing listed.

    Args:
      root: a folder of this machine, or a remote one.
    """
    self._root = root
    self._folder = pathlib.Path() if is_remote(root) else _resolved(root)
    self._names: dict[str, dict[str, str]] = {}  # of a folder, by NFC form

  def find(self, cell: str) -> str:
    r"""Returns the absolute path of a file, which need not be there.

    Args:
      cell: a path, absolute or relative to the root. Backslashes separate
        folders unless there is a file of that literal name; an absolute path
        of Windows means the longest end of it that is under the root.

    Raises:
      ValueError: the path leads out of the root.
      OSError, RuntimeError: there is a loop of links.
    """
    is_of_windows = '\\' in cell or bool(_DRIVE.match(cell))
    found = self._remote(cell) if is_remote(self._root) else self._inside(cell)
    if found and is_of_windows and not is_remote(self._root):
      found = found if os.path.exists(found) else self._of_windows(cell)
    if not found:
      raise ValueError(f'path {cell} leads out of {self._root}')
    return found

  def _remote(self, cell: str) -> str:
    path = pathlib.PurePosixPath(cell.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or '://' in cell:
      return ''
    return '' if _DRIVE.match(cell) else f'{self._root.rstrip("/")}/{path}'

  def _of_windows(self, cell: str) -> str:
    """Returns what a path of Windows means; '' where that leads out."""
    path = pathlib.PureWindowsPath(cell)
    if not path.anchor:
      return self._inside(path.as_posix())
    names = path.parts[1:]
    if '..' in names:
      return ''
    for start in range(len(names)):
      found = self._inside('/'.join(names[start:]))
      if found and os.path.exists(found):
        return found
    raise ValueError(
      f'path {cell}: an absolute path of Windows, and no end of it is a file '
      f'under {self._root}; make the paths relative to that folder'
    )

  def _inside(self, name: str) -> str:
    """Returns the real path of a file under the root; '' where it leads out.

    Args:
      name: a path with slashes, whose Unicode form may be another than that on
        the disk.
    """
    path = _resolved(self._folder / name)
    if not path.is_relative_to(self._folder):
      return ''
    if name.isascii() or os.path.exists(path):
      return str(path)
    found = self._folder
    for part in path.relative_to(self._folder).parts:
      if not part.isascii() and not os.path.lexists(found / part):
        part = self._name_on_disk(str(found), part)
      found /= part
    found = _resolved(found)
    return str(found) if found.is_relative_to(self._folder) else ''

  def _name_on_disk(self, folder: str, name: str) -> str:
    """Returns what a folder calls a name that it has in another Unicode form.

    Disks of macOS and archives made there have accents as characters of their
    own (NFD), spreadsheets write them with the letter (NFC).
    """
    if folder not in self._names:
      try:
        names = sorted(os.listdir(folder))
      except OSError:  # whoever opens the file reports the reason
        names = []
      self._names[folder] = {_nfc(x): x for x in names}
    return self._names[folder].get(_nfc(name), name)


def _resolved(path: str | os.PathLike) -> pathlib.Path:
  return pathlib.Path(path).resolve()


def _nfc(name: str) -> str:
  return unicodedata.normalize('NFC', name)
