"""Prepares a source: audio to TFRecords, and a report.

Example:
  python -m mgc_jax.datasets.prepare --config=configs/crnn.py \
    --config.data.source=folder --config.data.root=/music

On many machines, by Apache Beam (launch/prepare_beam.sh):
  python -m mgc_jax.datasets.prepare --config=configs/crnn.py \
    --config.data.source=fma --config.data.root=/nfs/fma \
    --config.data.prepared_dir=/nfs/records \
    --beam_pipeline_options=runner=FlinkRunner,flink_master=HOST:8081
"""

import contextlib
import csv
import io
import logging
import types

from absl import flags
from etils import epath
from ml_collections import ConfigDict, config_flags

from mgc_jax.config.schema import validate
from mgc_jax.datasets import excerpt_index
from mgc_jax.datasets.records import Prepared, records_dir, source_fingerprint
from mgc_jax.datasets.sources import list_tracks, require_two_genres
from mgc_jax.datasets.track import Track, is_remote
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError, DataError, RemoteError
from mgc_jax.system.lock import exclusive

# By name: run as a command, this module's own is __main__.
_logger = logging.getLogger('mgc_jax.datasets.prepare')

_MAX_LOST_FRACTION = 0.1
_MAX_NAMED = 50  # tracks left out, on the screen; the file has all


def prepare(config: ConfigDict, beam_options: str | None = None) -> Prepared:
  """Prepares what is missing and opens the records of a source.

  Args:
    config: a valid configuration; `data` and `features` say what to prepare.
    beam_options: `name=value,...` of Apache Beam's pipeline, which then
      prepares instead of this machine's processes.

  Returns:
    The records; made now, or found under the same fingerprint.

  Raises:
    ConfigError: the source needs a field that is unset, records cannot go to
      `data.prepared_dir`, or Apache Beam is missing.
    DataError: the source is wrong, or has fewer than two genres (unless
      `config.data.genres` is set), or over 10 % of its tracks or all of a
      genre could not be read (unless `config.data.allow_missing`).
  """
  tracks = list_tracks(config.data)
  require_two_genres(tracks, config.data)
  if config.data.source == 'synthetic':
    _logger.warning(
      'Data: the embedded SYNTHETIC corpus, made-up music; its score says '
      'nothing of real music. Name real data with --config.data.source=folder '
      '--config.data.root=DIR (DIR/<genre>/<track>), or '
      '--config.data.source=manifest --config.data.manifest=CSV.'
    )
  return prepare_tracks(tracks, config, beam_options)


def prepare_tracks(
  tracks: list[Track], config: ConfigDict, beam_options: str | None = None
) -> Prepared:
  """Prepares what is missing and opens the records of some tracks.

  Args:
    tracks: with unique `track_id`.
    config: as `prepare` takes it; `data.source` names the records only.
    beam_options: as `prepare` takes them.

  Raises:
    ConfigError: records cannot go to `data.prepared_dir`, or Apache Beam is
      missing.
    DataError: as `prepare` does.
  """
  directory = _records(tracks, config, beam_options)
  try:
    index = excerpt_index.read(directory)
    left_out = _read_reasons(directory / excerpt_index.LEFT_OUT_FILE)
    damaged = _read_reasons(directory / excerpt_index.DAMAGED_FILE)
  except (OSError, LookupError, ValueError) as error:
    raise DataError(
      f'{directory}: damaged ({error}); delete this folder'
    ) from error
  _name('left out', left_out, directory / excerpt_index.LEFT_OUT_FILE)
  _name('damaged', damaged, directory / excerpt_index.DAMAGED_FILE)
  prepared = Prepared(
    index,
    {track.track_id: track for track in tracks},
    left_out,
    damaged,
  )
  _refuse_loss(prepared, config.data.allow_missing)
  return prepared


def _read_reasons(path: epath.Path) -> list[dict[str, str]]:
  text = path.read_text(encoding='utf-8')
  return list(csv.DictReader(io.StringIO(text, newline='')))


def _name(what: str, rows: list[dict[str, str]], path: epath.Path) -> None:
  for row in rows[:_MAX_NAMED]:
    _logger.warning('%s: %s: %s', what, row['path'], row['reason'])
  if len(rows) > _MAX_NAMED:
    _logger.warning(
      '%s: %d more, named in %s', what, len(rows) - _MAX_NAMED, path
    )


def _records(
  tracks: list[Track], config: ConfigDict, beam_options: str | None
) -> epath.Path:
  from mgc_jax.datasets import builder  # TensorFlow: seconds
  from mgc_jax.datasets.without_keras import tf

  root = records_dir(config)
  try:
    fingerprint = source_fingerprint(tracks, config)
  except RemoteError as error:
    raise DataError(str(error)) from error
  directory = root / builder.NAME / fingerprint / builder.VERSION
  _logger.info('records: %s', directory)
  try:
    if _is_whole(directory):
      return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(directory.parent):
      if not _is_whole(directory):
        _write_records(tracks, config, directory, beam_options)
  except RemoteError as error:
    raise DataError(f'{error}; run this again') from error
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


def _is_whole(directory: epath.Path) -> bool:
  """Returns whether records are there, from the first to the last.

  A folder on a disk is renamed at once; in a bucket file after file, the
  digests of the index among them.
  """
  return (directory / excerpt_index.SUMS_FILE).exists()


def _alone_in(folder: epath.Path) -> contextlib.AbstractContextManager:
  """Holds a folder; one in a bucket nobody can hold."""
  if is_remote(str(folder)):
    return contextlib.nullcontext()
  return exclusive(folder / '.lock', _say_that_it_waits)


def _say_that_it_waits() -> None:
  _logger.info('another process prepares these records; waiting for it')


def _write_records(
  tracks: list[Track],
  config: ConfigDict,
  directory: epath.Path,
  beam_options: str | None,
) -> None:
  """Writes a folder of records; it appears whole, or not at all."""
  from mgc_jax.datasets import builder

  # On a disk nobody else writes here, so what is not whole will never be.
  held = not is_remote(str(directory))
  for left in directory.parent.glob('incomplete*') if held else ():
    _logger.info('%s: left by a process that was killed; deleted', left)
    left.rmtree()
  genres = sorted({track.genre for track in tracks})
  _logger.info('preparing %d tracks', len(tracks))
  # <root>/<name>/<fingerprint>/<version>
  root, fingerprint = directory.parents[2], directory.parent.name
  kind, how = builder.MgcWindows, None
  if beam_options is not None:
    beam_builder = _beam_builder()
    kind, how = (
      beam_builder.BeamMgcWindows,
      beam_builder.download_config(beam_options),
    )
  made = kind(tracks, genres, config, fingerprint, root)
  # TFDS prints that it downloads, which it does not.
  with contextlib.redirect_stdout(io.StringIO()):
    made.download_and_prepare(download_config=how)


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
      f'{problem}; each is named in {path}. Mend them, or go on '
      'without them by --config.data.allow_missing'
    )
  _logger.warning('%s; going on, as config.data.allow_missing says', problem)


def main() -> None:
  """Prepares, and prints the report."""
  from mgc_jax.datasets.preparation_report import preparation_report
  from mgc_jax.datasets.split_file import write_split
  from mgc_jax.datasets.splits import make_splits

  config = _CONFIG.value
  validate(config)
  prepared = prepare(config, flags.FLAGS.beam_pipeline_options)
  splits = make_splits(prepared, config)
  write_split(splits, prepared.index, config.data)
  print(preparation_report(prepared, splits))


if __name__ == '__main__':
  _CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'The config file, e.g. configs/crnn.py.'
  )
  flags.DEFINE_string(
    'beam_pipeline_options',
    None,
    'Prepare on Apache Beam: name=value,... of its pipeline options, such as '
    'runner=DirectRunner,direct_num_workers=2; see launch/prepare_beam.sh.',
  )
  flags.mark_flag_as_required('config')
  command_line.run(main)
