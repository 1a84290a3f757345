"""Prepares records on Apache Beam, on many machines.

Each track is processed by the same code as in local preparation. Workers read
tracks at their paths, which must be on a shared disk or remote (gs://, s3://).
"""

# The extra may be missing when types are checked, and if it is installed, its
# type information lacks modules that its documentation tells users to import.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import contextlib
import dataclasses
import io
import json
import os
from collections.abc import Iterator

import apache_beam as beam
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from mgc_jax.config.schema import FeaturesConfig
from mgc_jax.datasets.builder import NAME, VERSION, MgcWindows, example_of
from mgc_jax.datasets.excerpts import Excerpt, try_excerpts
from mgc_jax.datasets.track import Track
from mgc_jax.system import cores
from mgc_jax.system.errors import ConfigError, DataError

_TRACKS = 'tracks.jsonl'
_REASONS = 'reasons_by_beam'
_Outcome = tuple[Track, list[Excerpt] | str]


def download_config(options: str) -> tfds.download.DownloadConfig:
  """Returns the TFDS configuration for running a pipeline with Beam's options.

  Args:
    options: Beam's pipeline options as `name=value,...`, the value of the flag.

  Raises:
    ConfigError: an option has an invalid value.
  """
  flags = [f'--{option}' for option in options.split(',') if option]
  stderr = io.StringIO()
  try:
    with contextlib.redirect_stderr(stderr):
      parsed = PipelineOptions(flags=flags)
      parsed.get_all_options()
  except SystemExit as error:  # raised by the parser that Beam uses
    raise ConfigError(
      f'--beam_pipeline_options: {stderr.getvalue().strip().splitlines()[-1]}'
    ) from error
  return tfds.download.DownloadConfig(beam_options=parsed)


class BeamMgcWindows(MgcWindows, skip_registration=True):
  """Writes the same records as `MgcWindows`, from a Beam pipeline."""

  VERSION = tfds.core.Version(VERSION)
  name = NAME

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager, pipeline: beam.Pipeline
  ):
    del dl_manager  # nothing is downloaded
    features, data = self._mgc_features, self._mgc_data
    limits = data.min_duration_s, data.on_damage
    # Pass the tracks in a file: a long list would not fit into the job request.
    path = epath.Path(self.data_dir) / _TRACKS
    path.write_text(
      '\n'.join(json.dumps(dataclasses.asdict(t)) for t in self._tracks)
    )
    outcomes = (
      pipeline
      | 'List' >> beam.Create([str(path)])
      | 'Tracks' >> beam.FlatMap(_read_tracks)
      | 'Spread' >> beam.Reshuffle()
      | 'Decode' >> beam.Map(_outcome, features, *limits)
    )
    _ = (
      outcomes
      | 'Reasons' >> beam.FlatMap(_reasons)
      | 'WriteReasons'
      >> beam.io.WriteToText(os.path.join(self.data_dir, _REASONS))
    )
    return {'excerpts': outcomes | 'Examples' >> beam.FlatMap(_examples)}

  def _generate_splits(self, *args, **kwargs):
    """Reports what stopped the pipeline in one line, whatever its runner."""
    try:
      return super()._generate_splits(*args, **kwargs)
    except Exception as error:
      # TFDS's own check, which each runner wraps in its own error.
      if 'CheckValidNumExamples' in str(error):
        raise DataError(
          'no track could be prepared; mgc verify reports the reasons'
        ) from error
      last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
      raise DataError(f'the pipeline failed: {last[0]}') from error

  def _process_pipeline_result(self, pipeline_result: object) -> None:
    """Collects the tracks that workers skipped or found damaged, in order."""
    super()._process_pipeline_result(pipeline_result)
    (epath.Path(self.data_dir) / _TRACKS).unlink()
    found = {}
    for path in epath.Path(self.data_dir).glob(f'{_REASONS}*'):
      lines = map(json.loads, path.read_text().splitlines())
      found.update((line.pop('track_id'), line) for line in lines)
      path.unlink()
    for track in self._tracks:
      if line := found.get(track.track_id):
        to = self._skipped if line['is_skipped'] else self._damaged
        to.append((track, line['reason']))


def _read_tracks(path: str) -> Iterator[Track]:
  for line in epath.Path(path).read_text().splitlines():
    fields = json.loads(line)
    yield Track(**{**fields, 'window_splits': tuple(fields['window_splits'])})


def _outcome(
  track: Track, features: FeaturesConfig, min_s: float, on_damage: str
) -> _Outcome:
  cores.use_one_blas_thread()  # a machine has a worker for each core
  return track, try_excerpts(track, features, min_s, on_damage)


def _reasons(outcome: _Outcome) -> Iterator[str]:
  track, found = outcome
  is_skipped = isinstance(found, str)
  reason = found if is_skipped else found[0].warning
  if reason:
    line = {'reason': reason, 'is_skipped': is_skipped}
    yield json.dumps({'track_id': track.track_id, **line})


def _examples(outcome: _Outcome) -> Iterator[tuple[str, dict]]:
  track, found = outcome
  if not isinstance(found, str):
    for number, excerpt in enumerate(found):
      example = example_of(track, number, excerpt)
      yield example['excerpt_id'], example
