r"""Compares two models on the same test tracks.

Overlapping confidence intervals say little about two models that were tested
on the same tracks, because a track that is hard for one of them is mostly hard
for both. So this resamples the differences of single tracks (the paired
bootstrap, Efron and Tibshirani 1993), and also those of whole artists, whose
tracks are not independent.

Example for a sweep with --workdir=runs/sweep over folds and
--config.augment.filter_db=0.0,6.0:
  mgc compare \
    --workdirs=$(echo runs/sweep/augment.filter_db=6.0/seed0-fold? | tr ' ' ,) \
    --against=$(echo runs/sweep/augment.filter_db=0.0/seed0-fold? | tr ' ' ,)
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from mgc_jax.evaluation import metrics, predictions
from mgc_jax.experiments import flags
from mgc_jax.system.arguments import Command, Parser
from mgc_jax.system.errors import ConfigError

_NUM_BOOTSTRAP = 4000
# How each score is printed: title, scale, digits.
_MEASURES = {
  'track_accuracy': ('track accuracy, %', 100, 1),
  'negative_log_likelihood': ('negative log-likelihood', 1, 3),
}


def compare(
  workdirs: Sequence[pathlib.Path], against: Sequence[pathlib.Path]
) -> dict:
  """Compares the scores of two models, track by track.

  Args:
    workdirs: folders of the first model: one run, or all folds of a
      cross-validation.
    against: folders of the second model: one run, or all folds.

  Returns:
    `num_tracks`, and for each of `track_accuracy` and
    `negative_log_likelihood` (before calibration) the mean of the first
    `model`, of the one `against` it, and of their `difference`, with the
    intervals of the difference: `ci95` if tracks are resampled, `ci95_artists`
    if artists are (None if no artist is known).

  Raises:
    ConfigError: the models were not tested on the same tracks, or two runs of
      one model were tested on the same track, so they are not folds.
    DataError: the predictions of a run are missing or damaged.
  """
  if not workdirs or not against:
    raise ConfigError('--workdirs and --against: each needs at least one run')
  model, other = _read(workdirs), _read(against)
  alone = np.setxor1d(model.track_id, other.track_id)
  if len(alone):
    raise ConfigError(
      f'{workdirs[0]} and {against[0]} were tested on different tracks: '
      f'{len(alone)} were tested by only one, e.g. {alone[0]}'
    )
  if (model.genre != other.genre).any():
    raise ConfigError(
      f'{workdirs[0]} and {against[0]} have different genres for some tracks'
    )
  # Versions that did not save artists have none.
  artist = other.artist if model.artist is None else model.artist
  found: dict = {'num_tracks': len(model.track_id)}
  for name in _MEASURES:
    ours, theirs = getattr(model, name), getattr(other, name)
    differences = ours - theirs
    found[name] = {
      'model': float(ours.mean()),
      'against': float(theirs.mean()),
      'difference': float(differences.mean()),
      'ci95': _ci95(differences, model.track_id),
      'ci95_artists': None if artist is None else _ci95(differences, artist),
    }
  return found


def _ci95(differences: np.ndarray, group: np.ndarray) -> list[float] | None:
  return metrics.grouped_bootstrap_ci95(differences, group, _NUM_BOOTSTRAP)


@dataclasses.dataclass(frozen=True)
class _TrackScores:
  """Scores of the n tracks that a model was tested on, sorted by track id."""

  track_id: np.ndarray  # str[n]
  genre: np.ndarray  # str[n]
  track_accuracy: np.ndarray  # f64[n], 1 if the genre is predicted correctly
  negative_log_likelihood: np.ndarray  # f64[n]
  artist: np.ndarray | None = None  # str[n], None if no artist is known


def _read(workdirs: Sequence[pathlib.Path]) -> _TrackScores:
  parts = [_track_scores(predictions.read(workdir)) for workdir in workdirs]
  track_id = np.concatenate([part.track_id for part in parts])
  order = np.argsort(track_id, kind='stable')
  repeated = track_id[order][1:] == track_id[order][:-1]
  if repeated.any():
    raise ConfigError(
      f'{workdirs[0]} and the others: {track_id[order][1:][repeated][0]} was '
      'tested by two of them; use the folds of one random seed'
    )
  columns: dict[str, np.ndarray] = {}
  for field in dataclasses.fields(_TrackScores):
    values = [getattr(part, field.name) for part in parts]
    if not any(value is None for value in values):
      columns[field.name] = np.concatenate(values)[order]
  return _TrackScores(**columns)


def _track_scores(found: predictions.Predictions) -> _TrackScores:
  probabilities, label = found.track_probabilities(), found.track_label()
  return _TrackScores(
    track_id=found.tracks(),
    genre=np.array(found.genres)[label],
    track_accuracy=(probabilities.argmax(axis=1) == label).astype(float),
    negative_log_likelihood=metrics.negative_log_likelihood(
      probabilities, label
    ),
    artist=found.track_artist(),
  )


def _text(found: dict) -> str:
  """Formats the result of `compare`, one line per score."""
  lines = [f'{found["num_tracks"]} tracks; differences with 95 % intervals']
  for name, (title, scale, digits) in _MEASURES.items():
    row = found[name]
    model, against, difference = (
      scale * row[x] for x in ('model', 'against', 'difference')
    )
    bounds = [
      f'{over} {scale * ends[0]:+.{digits}f} to {scale * ends[1]:+.{digits}f}'
      for over, ends in (
        ('over tracks', row['ci95']),
        ('over artists', row['ci95_artists']),
      )
      if ends
    ]
    lines.append(
      f'{title}: {model:.{digits}f} against {against:.{digits}f}, '
      f'{difference:+.{digits}f} ({", ".join(bounds)})'
    )
  return '\n'.join(lines)


def _run(args: argparse.Namespace) -> None:
  """Prints the comparison."""
  of, against = (
    [pathlib.Path(folder) for folder in names]
    for names in (args.workdirs, args.against)
  )
  print(_text(compare(of, against)))


def _add_arguments(parser: Parser) -> None:
  flags.add_workdirs(parser, 'Folders of a run, or of its folds.')
  flags.add_workdirs(
    parser, 'Folders of the model to compare with.', '--against'
  )


COMMAND = Command(__doc__, _add_arguments, _run)
