"""Finds the files that belong to an album: covers, cue sheets, playlists."""

import collections
import os
from collections.abc import Iterable, Iterator

from mgc_jax.audio.files import is_audio

# The extensions of each kind of file.
KINDS = {
  'cover': ('.jpg', '.jpeg', '.png', '.webp', '.gif'),
  'cue': ('.cue',),
  'lrc': ('.lrc',),
  'm3u': ('.m3u', '.m3u8'),
}


def destinations(
  moves: Iterable[tuple[str, str]], kinds: Iterable[str]
) -> Iterator[tuple[str, str]]:
  """Yields the companion files of albums, each with the folder it goes to.

  An album is a folder with tracks. Its companions go with them only if all of
  its audio files go to the same folder.

  Args:
    moves: the present and the new path of each track.
    kinds: which files to find, from `KINDS`.
  """
  extensions = tuple(x for kind in kinds for x in KINDS[kind])
  if not extensions:  # the folders need not be read
    return
  albums: dict[str, dict[str, str]] = collections.defaultdict(dict)
  for source, to in moves:
    folder, name = os.path.split(source)
    albums[folder][name] = os.path.dirname(to)
  for folder, tracks in albums.items():
    names = _names_in(folder)
    if len({*tracks.values()}) > 1 or not set(filter(is_audio, names)) <= {
      *tracks
    }:
      continue
    for name in names:
      if name.lower().endswith(extensions) and not is_audio(name):
        yield os.path.join(folder, name), next(iter(tracks.values()))


def has_audio(folder: str) -> bool:
  """Returns whether an audio file lies directly in a folder."""
  return any(map(is_audio, _names_in(folder)))


def _names_in(folder: str) -> list[str]:
  """Returns the files in a folder, sorted; hidden ones are left out."""
  try:
    with os.scandir(folder) as found:
      files = [one.name for one in found if one.is_file()]
  except OSError:  # the tracks in it cannot be moved either
    return []
  return sorted(name for name in files if not name.startswith('.'))
