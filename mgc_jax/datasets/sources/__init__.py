"""Where tracks come from: one module each, all in one registry.

A source's `list_tracks(data)` takes `config.data` and returns `list[Track]`.
"""

from ml_collections import ConfigDict

from mgc_jax.datasets.sources import (
  fma,
  folder,
  gtma,
  gtzan,
  manifest,
  synthetic,
)
from mgc_jax.datasets.track import Track, is_remote
from mgc_jax.errors import ConfigError, DataError

SOURCES = {
  'fma': fma.list_tracks,
  'folder': folder.list_tracks,
  'gtma': gtma.list_tracks,
  'gtzan': gtzan.list_tracks,
  'manifest': manifest.list_tracks,
  'synthetic': synthetic.list_tracks,
}
# Those whose published splits are used under the protocols of their names.
PUBLISHED = {
  'gtma': ('artist', 'track', 'window'),
  'gtzan': ('artist', 'track'),
}


def list_tracks(data: ConfigDict) -> list[Track]:
  """Returns the tracks of `config.data.source`.

  Args:
    data: `config.data`.

  Raises:
    ConfigError: there is no such source, or it needs a field that is unset.
    DataError: the source's folder or manifest is wrong, or a genre is none
      of `data.genres`.
  """
  if data.source not in SOURCES:
    raise ConfigError(
      f'config.data.source={data.source}: must be one of '
      + ', '.join(sorted(SOURCES))
    )
  if data.source != 'manifest':
    for name in ('root', 'gtzan_root', 'fma_root'):
      if is_remote(data[name] or ''):
        raise ConfigError(
          f'config.data.{name}={data[name]}: remote tracks are for '
          'config.data.source=manifest'
        )
  tracks = SOURCES[data.source](data)
  seen: set[str] = set()
  for track in tracks:
    if data.genres and track.genre not in data.genres:
      raise DataError(
        f'{track.path}: unknown genre {track.genre}; known: '
        + ', '.join(data.genres)
      )
    if track.track_id in seen or not track.genre.isprintable():
      raise DataError(f'{track.path}: {track.track_id!r} is no unique name')
    seen.add(track.track_id)
  return tracks
