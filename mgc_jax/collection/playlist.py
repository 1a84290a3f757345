"""Writes playlists in the format M3U8."""

import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from mgc_jax.audio.files import is_inside
from mgc_jax.audio.names import known_spelling
from mgc_jax.collection.entry import ClassifiedEntry
from mgc_jax.collection.index import Index
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.printable_text import printable

HEADER = b'#EXTM3U\n'


def known_genres(index: Index, genres: Sequence[str]) -> list[str]:
  """Returns genres as the model of an index spells them.

  Args:
    index: the index of the collection.
    genres: their names in any spelling.

  Raises:
    ConfigError: the model does not know one of them; names it.
  """
  model = index.model()
  known = model[2] if model else ()
  found = [known_spelling(genre, known) for genre in genres]
  for genre, name in zip(genres, found, strict=True):
    if not name:
      raise ConfigError(
        f'{genre}: not a genre of this index, which has {", ".join(known)}'
      )
  return found


def tracks_of_genres(
  index: Index, genres: Sequence[str], min_probability: float
) -> list[ClassifiedEntry]:
  """Returns the tracks of genres, the most probable first.

  Args:
    index: the index of the collection.
    genres: as the model spells them; a repeated one counts once.
    min_probability: tracks below this probability are left out.
  """
  found = [
    entry
    for genre in dict.fromkeys(genres)
    for entry in index.entries(genre)
    if entry.probability >= min_probability
  ]
  return sorted(found, key=lambda entry: -entry.probability)


def lines(
  entries: Iterable[ClassifiedEntry], folder: str | None = None
) -> Iterator[tuple[ClassifiedEntry, bytes]]:
  """Yields each track with its lines of a playlist.

  Paths have the same bytes as on the disk. The lines are empty for a track
  whose path has a line break, because it cannot be in a playlist.

  Args:
    entries: the tracks in their order.
    folder: where the playlist will be, an absolute path without links. The
      path of a track is relative to it if it is in or above the music, so that
      both can be moved together. None: all paths are absolute.
  """
  for entry in entries:
    path = entry.path if folder is None else _path_from(folder, entry)
    if '\n' in path or '\r' in path:
      yield entry, b''
      continue
    name = pathlib.PurePath(entry.path).stem
    title = ' - '.join(filter(None, [entry.artist, entry.title])) or name
    info = f'#EXTINF:{round(entry.duration_s)},{printable(title)}\n'
    line = f'{path}\n'.encode('utf-8', 'surrogateescape')
    yield entry, info.encode() + line


def _path_from(folder: str, entry: ClassifiedEntry) -> str:
  """Returns the path of a track in a playlist in a folder."""
  if not (is_inside(entry.path, folder) or is_inside(folder, entry.root)):
    return entry.path
  path = os.path.relpath(entry.path, folder)
  return f'./{path}' if path.startswith('#') else path  # not a comment
