"""The records of a source: their folder and their fingerprint."""

import dataclasses
import hashlib
import json
import os
import shutil

from etils import epath

from mgc_jax.config import versions
from mgc_jax.config.schema import DataConfig, FeaturesConfig
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.remote import remote_states
from mgc_jax.datasets.sources import synthetic
from mgc_jax.datasets.track import Track, is_remote
from mgc_jax.features.frames import weights_digest
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.user_dirs import user_cache_dir


@dataclasses.dataclass(frozen=True)
class Prepared:
  """The records of a source, and the tracks that could not be read.

  Attributes:
    index: describes the records.
    tracks: all tracks of the source, by track_id.
    skipped: tracks without a record: track_id, genre, path, reason.
    damaged: tracks that were read in part, with the same keys.
  """

  index: ExcerptIndex
  tracks: dict[str, Track]
  skipped: list[dict[str, str]]
  damaged: list[dict[str, str]]


def records_dir(data: DataConfig) -> epath.Path:
  """Returns the folder for records, an absolute path or `gs://...`.

  Raises:
    ConfigError: it is in another kind of bucket.
  """
  named = data.prepared_dir or ''
  if named.startswith('s3://'):
    raise ConfigError(
      f'config.data.prepared_dir={named}: must be a local folder or gs://...'
    )
  if is_remote(named):
    return epath.Path(named)
  if named:
    return epath.Path(os.path.abspath(named))
  return epath.Path(user_cache_dir() / 'prepared')


def source_fingerprint(
  tracks: list[Track], data: DataConfig, features: FeaturesConfig
) -> str:
  """Returns a name for records, which depends on everything that affects them.

  Splits do not, so another split needs no decoding.

  Args:
    tracks: the tracks of the source.
    data: the fingerprint depends on `min_duration_s` and `on_damage`.
    features: the fingerprint depends on all fields, and on the weights of the
      encoder that they name.

  Returns:
    `<source>-<16 hexadecimal digits>`.

  Raises:
    DataError: the weights of the encoder cannot be read.
  """
  remote = remote_states([track.path for track in tracks])
  digest = hashlib.sha256()
  # As older versions had them: records that they made are still used.
  settings = versions.downgrade({'features': features.to_dict()})['features']
  settings['min_duration_s'] = data.min_duration_s
  settings['on_damage'] = data.on_damage
  digest.update(json.dumps(settings, sort_keys=True).encode())
  # Ready-made frames do not depend on weights, and log-mel frames have none.
  if any(not track.path.endswith('.npy') for track in tracks):
    digest.update(weights_digest(features).encode())
  # With ffmpeg more files can be read, and some of them further.
  if any(_is_audio(track.path) for track in tracks):
    digest.update(str(shutil.which('ffmpeg') is not None).encode())
  for track in tracks:
    row = (track.track_id, track.path, track.genre, track.artist)
    state = remote.get(track.path) or _file_state(track.path)
    digest.update(ascii((row, state)).encode())
  return f'{data.source}-{digest.hexdigest()[:16]}'


def _is_audio(path: str) -> bool:
  return not path.startswith(synthetic.SCHEME) and not path.endswith('.npy')


def _file_state(path: str) -> tuple[int, ...]:
  """Returns the size and modification times of a file; () if it is missing."""
  try:
    state = os.stat(path)
  except (OSError, ValueError):
    return ()
  return state.st_size, state.st_mtime_ns, state.st_ctime_ns
