"""Prepares a source: audio to TFRecords, and a report.

Example:
  python -m mgc_jax.datasets.prepare --config=configs/crnn.py \
    --config.data.source=folder --config.data.root=/music
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import logging
import os
import pathlib
import shutil

from absl import flags
from ml_collections import ConfigDict, config_flags

from mgc_jax import cli
from mgc_jax.config import validate
from mgc_jax.datasets import excerpt_index
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.sources import list_tracks
from mgc_jax.datasets.track import Track
from mgc_jax.errors import DataError
from mgc_jax.lock import exclusive
from mgc_jax.runtime import user_cache_dir

# By name: run as a command, this module's own is __main__.
_logger = logging.getLogger('mgc_jax.datasets.prepare')

_MAX_LOST_FRACTION = 0.1


@dataclasses.dataclass(frozen=True)
class Prepared:
  """The records of a source, and what could not become one."""

  index: ExcerptIndex
  tracks: dict[str, Track]  # of the source, by track_id
  left_out: list[dict[str, str]]  # track_id, genre, path, reason


def prepare(config: ConfigDict) -> Prepared:
  """Prepares what is missing and opens the records of a source.

  Args:
    config: a valid configuration; `data` and `features` say what to prepare.

  Returns:
    The records; made now, or found under the same fingerprint.

  Raises:
    ConfigError: the source needs a field that is unset.
    DataError: the source is wrong, or over 10 % of its tracks or all of a
      genre could not be read (unless `config.data.allow_missing`).
  """
  tracks = list_tracks(config.data)
  if config.data.source == 'synthetic':
    _logger.warning(
      'Data: the embedded SYNTHETIC corpus, made-up music; its score says '
      'nothing of real music. Name real data with --config.data.source=folder '
      '--config.data.root=DIR (DIR/<genre>/<track>), or '
      '--config.data.source=manifest --config.data.manifest=CSV.'
    )
  directory = _records(tracks, config)
  try:
    index = excerpt_index.read(directory)
    path = directory / excerpt_index.LEFT_OUT_FILE
    with path.open(newline='', encoding='utf-8') as file:
      left_out = list(csv.DictReader(file))
  except (OSError, LookupError, ValueError) as error:
    raise DataError(
      f'{directory}: damaged ({error}); delete this folder'
    ) from error
  for row in left_out:
    _logger.warning('left out: %s: %s', row['path'], row['reason'])
  prepared = Prepared(
    index,
    {track.track_id: track for track in tracks},
    left_out,
  )
  _refuse_loss(prepared, config.data.allow_missing)
  return prepared


def records_dir(config: ConfigDict) -> pathlib.Path:
  """Returns the folder under which records lie, absolute."""
  if config.data.prepared_dir:
    return pathlib.Path(config.data.prepared_dir).absolute()
  return user_cache_dir() / 'prepared'


def source_fingerprint(tracks: list[Track], config: ConfigDict) -> str:
  """Names the records by all that they depend on.

  Splits are not part of it: another split needs no decoding.

  Args:
    tracks: of the source.
    config: `features` and `data.min_duration_s` are part of it.

  Returns:
    `<source>-<16 hexadecimal digits>`.
  """
  digest = hashlib.sha256()
  settings = config.features.to_dict()
  settings['min_duration_s'] = config.data.min_duration_s
  digest.update(json.dumps(settings, sort_keys=True).encode())
  # Without ffmpeg such files are left out; with it they are not.
  if any(track.path.lower().endswith('.m4a') for track in tracks):
    digest.update(str(shutil.which('ffmpeg') is not None).encode())
  for track in tracks:
    row = (track.track_id, track.path, track.genre, track.artist)
    digest.update(ascii((row, _file_state(track.path))).encode())
  return f'{config.data.source}-{digest.hexdigest()[:16]}'


def _file_state(path: str) -> tuple[int, ...]:
  """Returns size and times of change; nothing where there is no such file."""
  try:
    state = os.stat(path)
  except (OSError, ValueError):
    return ()
  return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _records(tracks: list[Track], config: ConfigDict) -> pathlib.Path:
  import tensorflow as tf  # seconds; its errors are those of its files

  from mgc_jax.datasets import builder

  root = records_dir(config)
  fingerprint = source_fingerprint(tracks, config)
  directory = root / builder.NAME / fingerprint / builder.VERSION
  _logger.info('records: %s', directory)
  if directory.exists():
    return directory
  try:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(directory.parent / '.lock', _say_that_it_waits):
      if not directory.exists():
        _write_records(tracks, config, directory)
  except (OSError, RuntimeError, tf.errors.OpError) as error:
    # TFDS wraps the errors of TensorFlow's files.
    cause = error.__cause__ if type(error) is RuntimeError else error
    if not isinstance(cause, OSError | tf.errors.OpError):
      raise
    reason = getattr(cause, 'message', cause)
    raise DataError(
      f'{root}: cannot write records: {reason}; make room, or name another '
      'folder by --config.data.prepared_dir'
    ) from error
  return directory


def _say_that_it_waits() -> None:
  _logger.info('another process prepares these records; waiting for it')


def _write_records(
  tracks: list[Track], config: ConfigDict, directory: pathlib.Path
) -> None:
  """Writes a folder of records; it appears whole, or not at all."""
  from mgc_jax.datasets import builder

  # Nobody else writes here, so what is not whole will never be.
  for left in directory.parent.glob('incomplete*'):
    _logger.info('%s: left by a process that was killed; deleted', left)
    shutil.rmtree(left)
  genres = sorted({track.genre for track in tracks})
  _logger.info('preparing %d tracks', len(tracks))
  # <root>/<name>/<fingerprint>/<version>
  root, fingerprint = directory.parents[2], directory.parent.name
  made = builder.MgcWindows(tracks, genres, config, fingerprint, root)
  # TFDS prints that it downloads, which it does not.
  with contextlib.redirect_stdout(io.StringIO()):
    made.download_and_prepare()


def _refuse_loss(prepared: Prepared, allow_missing: bool) -> None:
  lost, tracks = prepared.left_out, prepared.tracks.values()
  present = {prepared.index.genres[i] for i in set(prepared.index.label)}
  gone = sorted({track.genre for track in tracks} - present)
  if gone:
    problem = f'no track of {", ".join(gone)} could be read'
  elif len(lost) > _MAX_LOST_FRACTION * len(tracks):
    problem = f'{len(lost)} of {len(tracks)} tracks could not be read'
  else:
    return
  if not allow_missing:
    path = prepared.index.directory / excerpt_index.LEFT_OUT_FILE
    raise DataError(
      f'{problem}; each is named above, and in {path}. Mend them, or go on '
      'without them by --config.data.allow_missing'
    )
  _logger.warning('%s; going on, as config.data.allow_missing says', problem)


def main() -> None:
  """Prepares, and prints the report."""
  from mgc_jax.datasets import splits
  from mgc_jax.report import preparation_report

  config = _CONFIG.value
  validate(config)
  prepared = prepare(config)
  split = splits.make_splits(prepared, config)
  splits.write_split(split, prepared.index, config.data)
  print(preparation_report(prepared, split))


if __name__ == '__main__':
  _CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'The config file, e.g. configs/crnn.py.'
  )
  flags.mark_flag_as_required('config')
  cli.run(main)
