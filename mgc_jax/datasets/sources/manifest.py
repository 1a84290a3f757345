"""A manifest: a CSV that lists tracks with genres, artists and splits."""

import pathlib

from ml_collections import ConfigDict

from mgc_jax.datasets.track import Track, read_manifest
from mgc_jax.errors import ConfigError


def list_tracks(data: ConfigDict) -> list[Track]:
  """Reads `config.data.manifest`.

  Args:
    data: `config.data`; `manifest` is absolute, or relative to `root` where
      that is set; `root` defaults to the manifest's folder.

  Raises:
    ConfigError: `manifest` is unset.
    DataError: see `read_manifest`.
  """
  if not data.manifest:
    raise ConfigError('config.data.manifest: unset; name the CSV of tracks')
  path = pathlib.Path(data.root or '.') / data.manifest
  return read_manifest(path, data.root or path.parent, data.genres)
