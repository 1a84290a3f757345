"""Reads manifests: CSV tables that list tracks."""

import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence

from mgc_jax.audio.names import known_spelling
from mgc_jax.config.rules import SPLITS
from mgc_jax.datasets.csv_table import read_rows
from mgc_jax.datasets.track import Track, is_remote
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import is_shown, printable

REQUIRED_COLUMNS = ('path', 'track_id', 'genre')
_DIGEST = re.compile('(md5|sha1|sha256):[0-9a-f]+')
_DRIVE = re.compile(r'[A-Za-z]:[\\/]')  # on Windows


def read_manifest(
  path: str | os.PathLike, root: str | os.PathLike, genres: Sequence[str] = ()
) -> list[Track]:
  """Reads a manifest.

  Args:
    path: a CSV, as `read_rows` reads it, with the columns `path, track_id,
      genre` and optionally `artist, album, title, source, split, duration_s,
      digest` (`md5:`, `sha1:` or `sha256:` and hexadecimal). Other columns are
      ignored.
    root: the folder to which relative paths refer, which may be remote. No
      path may leave it.
    genres: the allowed genres; if empty, any. A genre that differs from one of
      them only in case, Unicode form or spaces is replaced by it.

  Returns:
    The tracks in the manifest's order, with absolute paths.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  path, root = pathlib.Path(path), os.fspath(root)
  if not is_remote(root) and not os.path.isdir(root):
    raise DataError(f'{root}: no such folder; set --config.data.root')
  resolver = _PathResolver(root)
  seen: dict[str, tuple[int, str]] = {}
  tracks = []
  for line, row in read_rows(path, REQUIRED_COLUMNS):
    try:
      track = _track(row, resolver, genres)
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


def _track(
  row: dict[str, str], resolver: '_PathResolver', genres: Sequence[str]
) -> Track:
  """Converts a row to a track; a ValueError says what is wrong with it."""
  if '' in row:
    raise ValueError('more cells than columns')
  for name, cell in row.items():
    if not all(map(is_shown, cell)):
      raise ValueError(
        f'{printable(name)} {printable(cell)} contains control characters'
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
    path=resolver.resolve(row['path']),
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
  """Returns a duration; 0 if the cell is empty."""
  try:
    seconds = float(cell.replace(',', '.') or 0)  # a decimal comma, as in 3,5
  except ValueError as error:
    raise ValueError(f'duration_s {cell}: not a number of seconds') from error
  if not 0 <= seconds < math.inf:
    raise ValueError(f'duration_s {cell}: must be positive')
  return seconds


class _PathResolver:
  """Resolves the paths in a manifest, all of them inside one root."""

  def __init__(self, root: str):
    """Creates a resolver.

    Args:
      root: a local or remote folder.
    """
    self._root = root
    self._folder = pathlib.Path() if is_remote(root) else _resolved(root)
    # The names in each folder that was listed, by their NFC form.
    self._names: dict[str, dict[str, str]] = {}

  def resolve(self, cell: str) -> str:
    r"""Returns the absolute path of a file, which need not exist.

    Args:
      cell: a path, absolute or relative to the root. Backslashes separate
        folders unless a file of that literal name exists. An absolute Windows
        path stands for its longest suffix that exists under the root.

    Raises:
      ValueError: the path leads out of the root.
      OSError, RuntimeError: there is a cycle of links.
    """
    is_windows = '\\' in cell or bool(_DRIVE.match(cell))
    found = self._remote(cell) if is_remote(self._root) else self._local(cell)
    if found and is_windows and not is_remote(self._root):
      found = found if os.path.exists(found) else self._windows(cell)
    if not found:
      raise ValueError(f'path {cell} is outside {self._root}')
    return found

  def _remote(self, cell: str) -> str:
    path = pathlib.PurePosixPath(cell.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or '://' in cell:
      return ''
    return '' if _DRIVE.match(cell) else f'{self._root.rstrip("/")}/{path}'

  def _windows(self, cell: str) -> str:
    """Returns what a Windows path stands for; '' if it leads out."""
    path = pathlib.PureWindowsPath(cell)
    if not path.anchor:
      return self._local(path.as_posix())
    names = path.parts[1:]
    if '..' in names:
      return ''
    for start in range(len(names)):
      found = self._local('/'.join(names[start:]))
      if found and os.path.exists(found):
        return found
    raise ValueError(
      f'path {cell}: an absolute Windows path, and no suffix of it is a file '
      f'under {self._root}; make the paths relative to that folder'
    )

  def _local(self, name: str) -> str:
    """Returns the real path of a file under the root; '' if it leads out.

    Args:
      name: a path with slashes, whose Unicode form may differ from that on the
        disk.
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
    """Returns the spelling of a name in a folder, if only its form differs.

    Disks of macOS and archives made there store accents as separate characters
    (NFD), spreadsheets write them combined with the letter (NFC).
    """
    if folder not in self._names:
      try:
        names = sorted(os.listdir(folder))
      except OSError:  # the code that opens the file reports the reason
        names = []
      self._names[folder] = {_nfc(x): x for x in names}
    return self._names[folder].get(_nfc(name), name)


def _resolved(path: str | os.PathLike) -> pathlib.Path:
  return pathlib.Path(path).resolve()


def _nfc(name: str) -> str:
  return unicodedata.normalize('NFC', name)
