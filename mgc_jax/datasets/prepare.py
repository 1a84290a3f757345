r"""Prepares a source: writes its audio to TFRecords and prints a report.

Example:
  mgc prepare --config=configs/crnn.py \
    --config.data.source=folder --config.data.root=/music

On many machines, with Apache Beam (launch/prepare_beam.sh):
  mgc prepare --config=configs/crnn.py \
    --config.data.source=fma --config.data.root=/nfs/fma \
    --config.data.prepared_dir=/nfs/records \
    --beam_pipeline_options=runner=FlinkRunner,flink_master=HOST:8081

On many machines that share a disk, with Dask (launch/dask.sh):
  mgc prepare --config=configs/crnn.py \
    --config.data.source=fma --config.data.root=/nfs/fma \
    --config.data.prepared_dir=/nfs/records --scheduler=tcp://HOST:8786
"""

import argparse
import contextlib
import csv
import io
import logging
import pathlib
import types

from etils import epath

from mgc_jax.cluster import flags
from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import Config, DataConfig, FeaturesConfig
from mgc_jax.datasets import excerpt_index
from mgc_jax.datasets.records import Prepared, records_dir, source_fingerprint
from mgc_jax.datasets.sources import list_tracks, require_two_genres
from mgc_jax.datasets.track import Track, is_remote
from mgc_jax.system.arguments import CONTINUES, Command, Parser
from mgc_jax.system.errors import ConfigError, DataError, RemoteError
from mgc_jax.system.lock import exclusive

_logger = logging.getLogger(__name__)

_MAX_SKIPPED_FRACTION = 0.1
_MAX_NAMED = 50  # skipped tracks in the log; the file lists all of them


def prepare(
  config: Config,
  beam_options: str | None = None,
  scheduler: str | None = None,
) -> Prepared:
  """Opens the records of a source, and prepares them first if necessary.

  Args:
    config: a valid configuration; `data` and `features` say what to prepare.
    beam_options: Apache Beam's pipeline options, `name=value,...`, to prepare
      with Beam.
    scheduler: the address of Dask's scheduler, to prepare on its workers. With
      neither, processes of this machine prepare.

  Returns:
    The records, either written now or found under the same fingerprint.

  Raises:
    ConfigError: the source needs a field that is unset, records cannot be
      written to `data.prepared_dir`, or Beam or Dask is not installed or cannot
      be used.
    DataError: the source is invalid or has fewer than two genres (unless
      `config.data.genres` is set), or more than 10 % of its tracks or all
      tracks of a genre could not be read (unless `config.data.allow_missing`).
  """
  tracks = list_tracks(config.data)
  require_two_genres(tracks, config.data)
  if config.data.source == 'synthetic':
    _logger.warning(
      'Data: the embedded SYNTHETIC corpus, generated music; its score says '
      'nothing about real music. For real data use --config.data.source=folder '
      '--config.data.root=DIR (DIR/<genre>/<track>), or '
      '--config.data.source=manifest --config.data.manifest=CSV.'
    )
  return prepare_tracks(
    tracks, config.data, config.features, beam_options, scheduler
  )


def prepare_tracks(
  tracks: list[Track],
  data: DataConfig,
  features: FeaturesConfig,
  beam_options: str | None = None,
  scheduler: str | None = None,
) -> Prepared:
  """Opens the records of given tracks, and prepares them first if necessary.

  Args:
    tracks: the tracks to prepare, with unique `track_id`.
    data: `config.data`; `source` only names the records.
    features: `config.features`.
    beam_options: as in `prepare`.
    scheduler: as in `prepare`.

  Raises:
    ConfigError: records cannot be written to `data.prepared_dir`, or Beam or
      Dask is not installed or cannot be used.
    DataError: as in `prepare`.
  """
  directory = _records(tracks, data, features, beam_options, scheduler)
  try:
    index = excerpt_index.read(directory)
    skipped = _read_reasons(directory / excerpt_index.SKIPPED_FILE)
    damaged = _read_reasons(directory / excerpt_index.DAMAGED_FILE)
  except (OSError, LookupError, ValueError) as error:
    raise DataError(
      f'{directory}: damaged ({error}); delete this folder'
    ) from error
  _log_reasons('skipped', skipped, directory / excerpt_index.SKIPPED_FILE)
  _log_reasons('damaged', damaged, directory / excerpt_index.DAMAGED_FILE)
  prepared = Prepared(
    index,
    {track.track_id: track for track in tracks},
    skipped,
    damaged,
  )
  _check_skipped(prepared, data.allow_missing)
  return prepared


def _read_reasons(path: epath.Path) -> list[dict[str, str]]:
  text = path.read_text(encoding='utf-8')
  return list(csv.DictReader(io.StringIO(text, newline='')))


def _log_reasons(
  what: str, rows: list[dict[str, str]], path: epath.Path
) -> None:
  for row in rows[:_MAX_NAMED]:
    _logger.warning('%s: %s: %s', what, row['path'], row['reason'])
  if len(rows) > _MAX_NAMED:
    _logger.warning(
      '%s: %d more, listed in %s', what, len(rows) - _MAX_NAMED, path
    )


def _records(
  tracks: list[Track],
  data: DataConfig,
  features: FeaturesConfig,
  beam_options: str | None,
  scheduler: str | None,
) -> epath.Path:
  from mgc_jax.datasets import builder  # TensorFlow: seconds
  from mgc_jax.datasets.without_keras import tf

  root = records_dir(data)
  try:
    fingerprint = source_fingerprint(tracks, data, features)
  except RemoteError as error:
    raise DataError(str(error)) from error
  directory = root / builder.NAME / fingerprint / builder.VERSION
  _logger.info('records: %s', directory)
  try:
    if _is_complete(directory):
      return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _locked(directory.parent):
      if not _is_complete(directory):
        _write_records(
          tracks, data, features, directory, beam_options, scheduler
        )
  except RemoteError as error:
    raise DataError(f'{error}; run this again') from error
  except (OSError, RuntimeError, tf.errors.OpError) as error:
    # TFDS wraps the errors of TensorFlow's files.
    cause = error.__cause__ if type(error) is RuntimeError else error
    if not isinstance(cause, OSError | tf.errors.OpError):
      raise
    reason = getattr(cause, 'message', cause)
    raise DataError(
      f'{root}: cannot write records: {reason}; free some space, or choose '
      'another folder with --config.data.prepared_dir'
    ) from error
  return directory


def _is_complete(directory: epath.Path) -> bool:
  """Returns whether all records were written.

  On a disk the folder appears atomically. In a bucket its files are renamed one
  by one; `excerpt_index.read` verifies their digests.
  """
  return (directory / excerpt_index.SUMS_FILE).exists()


def _locked(folder: epath.Path) -> contextlib.AbstractContextManager:
  """Locks a folder, unless it is in a bucket, which has no locks."""
  if is_remote(str(folder)):
    return contextlib.nullcontext()
  return exclusive(folder / '.lock', _log_waiting)


def _log_waiting() -> None:
  _logger.info('another process prepares these records; waiting for it')


def _write_records(
  tracks: list[Track],
  data: DataConfig,
  features: FeaturesConfig,
  directory: epath.Path,
  beam_options: str | None,
  scheduler: str | None,
) -> None:
  """Writes a folder of records, which appears atomically on a disk."""
  from mgc_jax.datasets import builder, prepared_parts

  # With the lock nobody else writes here, so incomplete folders are stale.
  is_locked = not is_remote(str(directory))
  for stale in directory.parent.glob('incomplete*') if is_locked else ():
    _logger.info('%s: left by a process that was killed; deleted', stale)
    stale.rmtree()
  genres = sorted({track.genre for track in tracks})
  _logger.info('preparing %d tracks', len(tracks))
  # <root>/<name>/<fingerprint>/<version>
  root, fingerprint = directory.parents[2], directory.parent.name
  arguments = (tracks, genres, data, features, fingerprint, root)
  download_config, parts = None, None
  if beam_options is not None:
    beam_builder = _beam_builder()
    writer = beam_builder.BeamMgcWindows(*arguments)
    download_config = beam_builder.download_config(beam_options)
  elif scheduler:
    if not is_locked:
      raise ConfigError(
        f'config.data.prepared_dir={root}: with --scheduler it must be on a '
        'disk that all hosts share'
      )
    # Beside the records, so that they outlive a process that is killed.
    parts = prepared_parts.PreparedParts(
      tracks, features, data, pathlib.Path(directory.parent), scheduler
    )
    writer = builder.MgcWindows(*arguments, outcomes=parts.outcomes)
  else:
    writer = builder.MgcWindows(*arguments)
  # TFDS prints that it downloads, which is not the case.
  with contextlib.redirect_stdout(io.StringIO()):
    writer.download_and_prepare(download_config=download_config)
  if parts:
    parts.delete()


def _beam_builder() -> types.ModuleType:
  try:
    from mgc_jax.datasets import beam_builder
  except ModuleNotFoundError as error:
    if not (error.name or '').startswith('apache_beam'):
      raise
    raise ConfigError(
      "--beam_pipeline_options: needs Apache Beam; pip install 'mgc_jax[beam]'"
    ) from error
  return beam_builder


def _check_skipped(prepared: Prepared, allow_missing: bool) -> None:
  """Raises a `DataError` if too many tracks were skipped."""
  skipped, tracks = prepared.skipped, prepared.tracks.values()
  present = {prepared.index.genres[i] for i in set(prepared.index.label)}
  missing = sorted({track.genre for track in tracks} - present)
  if missing:
    problem = f'no track of {", ".join(missing)} could be read'
  elif len(skipped) > _MAX_SKIPPED_FRACTION * len(tracks):
    problem = f'{len(skipped)} of {len(tracks)} tracks could not be read'
  else:
    return
  if not allow_missing:
    path = prepared.index.directory / excerpt_index.SKIPPED_FILE
    raise DataError(
      f'{problem}; {path} lists them with reasons. Fix them, or continue '
      'without them with --config.data.allow_missing'
    )
  _logger.warning(
    '%s; continuing, as config.data.allow_missing is set', problem
  )


def _run(args: argparse.Namespace) -> None:
  """Prepares, and prints the report."""
  from mgc_jax.datasets.preparation_report import preparation_report
  from mgc_jax.datasets.split_file import write_split
  from mgc_jax.datasets.splits import make_splits

  config = Config.from_dict(load_config(args.config, args.overrides))
  if args.scheduler and args.beam_pipeline_options is not None:
    raise ConfigError(
      '--scheduler, --beam_pipeline_options: only one of them can be set'
    )
  prepared = prepare(config, args.beam_pipeline_options, args.scheduler)
  splits = make_splits(prepared, config)
  write_split(splits, prepared.index, config.data)
  print(preparation_report(prepared, splits))


def _add_arguments(parser: Parser) -> None:
  parser.add_config()
  parser.add_argument(
    '--beam_pipeline_options',
    metavar='NAME=VALUE,...',
    help='Prepare on Apache Beam: name=value,... of its pipeline options, such '
    'as runner=DirectRunner,direct_num_workers=2; see launch/prepare_beam.sh.',
  )
  flags.add_scheduler(parser)


COMMAND = Command(__doc__, _add_arguments, _run, CONTINUES)
