"""Lists the tracks of manifests: CSVs with genres, artists and splits."""

import dataclasses
import pathlib

from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.track import Track, is_remote
from mgc_jax.system.arguments import comma_list, expand_home
from mgc_jax.system.errors import ConfigError


def list_tracks(data: DataConfig) -> list[Track]:
  """Reads `config.data.manifest`.

  Args:
    data: `config.data`; `manifest` is absolute, or relative to `root` if that
      is set and local; `root` defaults to the folder of the manifest. It may be
      several, separated by commas.

  Returns:
    The tracks of all manifests, one after another. If there are several, the
    `source` of a track for which its manifest has none is the name of the
    folder of that manifest.

  Raises:
    ConfigError: `manifest` is unset or remote.
    DataError: see `read_manifest`.
  """
  paths = manifest_paths(data)
  tracks = [
    (path, track)
    for path in paths
    for track in read_manifest(path, data.root or path.parent, data.genres)
  ]
  if len(paths) == 1:
    return [track for _, track in tracks]
  return [
    dataclasses.replace(track, source=track.source or path.parent.name)
    for path, track in tracks
  ]


def manifest_paths(data: DataConfig) -> list[pathlib.Path]:
  """Returns the absolute paths of the files that `config.data.manifest` names.

  Args:
    data: as for `list_tracks`. A name with commas is one file if it exists, and
      otherwise several, of which each may start with `~`.

  Raises:
    ConfigError: as for `list_tracks`.
  """
  if not data.manifest:
    raise ConfigError('config.data.manifest: not set; specify a CSV of tracks')
  if is_remote(data.manifest):
    raise ConfigError(
      f'config.data.manifest={data.manifest}: must be a local file; set '
      'config.data.root to read remote tracks'
    )
  folder = '' if is_remote(data.root or '') else data.root or ''
  whole = (pathlib.Path(folder) / data.manifest).absolute()
  if whole.exists() or ',' not in data.manifest:
    return [whole]
  names = map(expand_home, comma_list(data.manifest))
  return [(pathlib.Path(folder) / name).absolute() for name in names]
