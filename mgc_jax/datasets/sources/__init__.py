"""The registry of sources, which list tracks; each one is a module.

The `list_tracks(data)` of a source maps `config.data` to a `list[Track]`.
"""

import collections
import dataclasses
import logging

from mgc_jax.audio.names import comparable, known_spelling
from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.sources import (
  fma,
  folder,
  gtma,
  gtzan,
  manifest,
  synthetic,
)
from mgc_jax.datasets.track import Track, is_remote
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import is_shown, printable

_logger = logging.getLogger(__name__)

SOURCES = {
  'fma': fma.list_tracks,
  'folder': folder.list_tracks,
  'gtma': gtma.list_tracks,
  'gtzan': gtzan.list_tracks,
  'manifest': manifest.list_tracks,
  'synthetic': synthetic.list_tracks,
}
# The sources with published splits, and the protocols of these.
PUBLISHED = {
  'gtma': ('artist', 'track', 'window'),
  'gtzan': ('artist', 'track'),
}


def list_tracks(data: DataConfig) -> list[Track]:
  """Returns the tracks of `config.data.source`.

  Args:
    data: `config.data`.

  Returns:
    The tracks in the source's order. Genres that differ only in case, Unicode
    form or white space get the same spelling, that of `data.genres` if given.

  Raises:
    ConfigError: there is no such source, or it needs a field that is unset.
    DataError: the source's folder or manifest is invalid, or a genre is not in
      `data.genres`.
  """
  if data.source not in SOURCES:
    raise ConfigError(
      f'config.data.source={data.source}: must be one of '
      + ', '.join(sorted(SOURCES))
    )
  if data.source != 'manifest':
    for name in ('root', 'gtzan_root', 'fma_root'):
      root = getattr(data, name)
      if is_remote(root or ''):
        raise ConfigError(
          f'config.data.{name}={root}: remote tracks require '
          'config.data.source=manifest'
        )
  tracks = SOURCES[data.source](data)
  _check_names(tracks)
  return _with_one_spelling(tracks, data)


def require_two_genres(tracks: list[Track], data: DataConfig) -> None:
  """Checks that a classifier can be trained on the tracks.

  Args:
    tracks: the tracks of the source.
    data: `config.data`; if `genres` is set, as for evaluating a model, the
      tracks may have a single genre.

  Raises:
    DataError: there are fewer than two genres; suggests the folder that was
      probably meant.
  """
  genres = {track.genre for track in tracks}
  if len(genres) > 1 or data.genres:
    return
  place = data.manifest if data.source == 'manifest' else data.root
  raise DataError(
    f'{place}: only one genre, {"".join(genres)}, but a classifier needs at '
    f'least two{_advice(tracks, data)}'
  )


def _advice(tracks: list[Track], data: DataConfig) -> str:
  """Returns advice for a folder whose sub-folders may not be genres."""
  if data.source != 'folder' or data.root is None:
    return ''
  meant = folder.probable_root(data.root, [track.path for track in tracks])
  expected = f'. Expected {data.root}/<genre>/<track>'
  if not meant:
    return expected
  return f'{expected}; did you mean --config.data.root={meant}?'


def _check_names(tracks: list[Track]) -> None:
  seen: set[str] = set()
  for track in tracks:
    if track.track_id in seen:
      raise DataError(
        f'{printable(track.path)}: another track is also called '
        f'{printable(track.track_id)}; rename one of them'
      )
    seen.add(track.track_id)
    if not all(map(is_shown, track.genre)):
      raise DataError(
        f'{printable(track.path)}: genre {printable(track.genre)} contains '
        'control characters'
      )


def _with_one_spelling(tracks: list[Track], data: DataConfig) -> list[Track]:
  """Returns the tracks with a single spelling of each genre."""
  counts = collections.Counter(track.genre for track in tracks)
  if data.genres:
    spelling = {genre: known_spelling(genre, data.genres) for genre in counts}
  else:
    spelling = _common_spellings(counts)
  for track in tracks:
    if not spelling[track.genre]:
      raise DataError(
        f'{printable(track.path)}: unknown genre {track.genre}; known: '
        + ', '.join(data.genres)
        + (_advice(tracks, data) if len(counts) == 1 else '')
      )
  return [
    dataclasses.replace(track, genre=spelling[track.genre])
    if spelling[track.genre] != track.genre
    else track
    for track in tracks
  ]


def _common_spellings(counts: collections.Counter) -> dict[str, str]:
  """Returns the most frequent spelling of each genre; the first, if tied."""
  groups: dict[str, list[str]] = collections.defaultdict(list)
  for genre in sorted(counts):
    groups[comparable(genre)].append(genre)
  spelling = {}
  for group in groups.values():
    best = max(group, key=lambda genre: counts[genre])
    spelling |= dict.fromkeys(group, best)
    if len(group) > 1:
      _logger.warning(
        'these genres differ only in case, Unicode form or spaces, and are '
        'treated as one, "%s": %s',
        best,
        ', '.join(f'"{genre}" ({counts[genre]} tracks)' for genre in group),
      )
  return spelling
