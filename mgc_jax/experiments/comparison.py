"""Compares two models, track by track, on tracks that both were tested on.

Two intervals that overlap say little of two models that were asked the same:
most of what makes a track hard is hard for both. The differences of single
tracks are what is resampled here (the paired bootstrap, Efron and Tibshirani
1993), and those of whole artists, whose tracks are not independent.

Example, of a sweep with --workdir=runs/sweep over folds and
--config.augment.filter_db=0.0,6.0:
  python -m mgc_jax.experiments.comparison \
    --workdirs=$(echo runs/sweep/augment.filter_db=6.0/seed0-fold? | tr ' ' ,) \
    --against=$(echo runs/sweep/augment.filter_db=0.0/seed0-fold? | tr ' ' ,)
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

from mgc_jax.evaluation import metrics, predictions
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError

_NUM_BOOTSTRAP = 4000
# How each is shown: title, scale, digits.
_MEASURES = {
  'track_accuracy': ('track accuracy, %', 100, 1),
  'negative_log_likelihood': ('negative log-likelihood', 1, 3),
}


def compare(
  workdirs: Sequence[pathlib.Path], against: Sequence[pathlib.Path]
) -> dict:
  """Returns how a model differs from another one.

  Args:
    workdirs: of the one, evaluated: a run, or all folds of one.
    against: of the other, likewise.

  Returns:
    `num_tracks`, and for `track_accuracy` and `negative_log_likelihood` (of
    tracks, before calibration) `of` the one, `against` the other, the mean
    `difference`, and of that `ci95`, where tracks are drawn, and
    `ci95_artists`, where artists are (None where none is known).

  Raises:
    ConfigError: the two were not tested on the same tracks; or two runs of one
      model were, so that they are no folds.
    DataError: a run has no answers, or damaged ones.
  """
  if not workdirs or not against:
    raise ConfigError('--workdirs, --against: one of them names no run')
  of, other = _read(workdirs), _read(against)
  alone = np.setxor1d(of.track_id, other.track_id)
  if len(alone):
    raise ConfigError(
      f'{workdirs[0]} and {against[0]} were tested on different tracks: '
      f'{len(alone)} are of one only, {alone[0]} among them'
    )
  if (of.genre != other.genre).any():
    raise ConfigError(
      f'{workdirs[0]} and {against[0]} were told different genres'
    )
  # A run of before artists were kept has none.
  artist = other.artist if of.artist is None else of.artist
  found: dict = {'num_tracks': len(of.track_id)}
  for name in _MEASURES:
    ours, theirs = getattr(of, name), getattr(other, name)
    differences = ours - theirs
    found[name] = {
      'of': float(ours.mean()),
      'against': float(theirs.mean()),
      'difference': float(differences.mean()),
      'ci95': _ci95(differences, of.track_id),
      'ci95_artists': None if artist is None else _ci95(differences, artist),
    }
  return found


def _ci95(differences: np.ndarray, group: np.ndarray) -> list[float] | None:
  return metrics.grouped_bootstrap_ci95(differences, group, _NUM_BOOTSTRAP)


@dataclasses.dataclass(frozen=True)
class _Tested:
  """Tracks that a model was tested on, n of them, by their ids."""

  track_id: np.ndarray  # str[n]
  genre: np.ndarray  # str[n]
  track_accuracy: np.ndarray  # f64[n], 1 where the genre was found
  negative_log_likelihood: np.ndarray  # f64[n]
  artist: np.ndarray | None  # str[n]


def _read(workdirs: Sequence[pathlib.Path]) -> _Tested:
  parts = [predictions.read(workdir) for workdir in workdirs]
  label = [part.track_label() for part in parts]
  rows = [part.track_probabilities() for part in parts]
  chosen = [p[np.arange(len(y)), y] for p, y in zip(rows, label, strict=True)]
  columns = {
    'track_id': [part.tracks() for part in parts],
    'genre': [np.array(x.genres)[y] for x, y in zip(parts, label, strict=True)],
    'track_accuracy': [
      (p.argmax(axis=1) == y) * 1.0 for p, y in zip(rows, label, strict=True)
    ],
    'negative_log_likelihood': [-np.log(np.maximum(x, 1e-12)) for x in chosen],
    'artist': [part.track_artist() for part in parts],
  }
  track_id = np.concatenate(columns['track_id'])
  order = np.argsort(track_id, kind='stable')
  again = track_id[order][1:] == track_id[order][:-1]
  if again.any():
    raise ConfigError(
      f'{workdirs[0]} and the others: {track_id[order][1:][again][0]} was '
      'tested by two of them; name the folds of one seed'
    )
  if any(artist is None for artist in columns['artist']):
    columns.pop('artist')
  joined = {name: np.concatenate(x)[order] for name, x in columns.items()}
  return _Tested(**{'artist': None, **joined})


def _text(found: dict) -> str:
  lines = [f'{found["num_tracks"]} tracks; differences with 95 % intervals']
  for name, (title, scale, digits) in _MEASURES.items():
    row = found[name]
    of, against, difference = (
      scale * row[x] for x in ('of', 'against', 'difference')
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
      f'{title}: {of:.{digits}f} against {against:.{digits}f}, '
      f'{difference:+.{digits}f} ({", ".join(bounds)})'
    )
  return '\n'.join(lines)


def main() -> None:
  """Prints the comparison."""
  of, against = (
    [pathlib.Path(folder) for folder in names]
    for names in (flags.FLAGS.workdirs, flags.FLAGS.against)
  )
  print(_text(compare(of, against)))


if __name__ == '__main__':
  flags.DEFINE_list('workdirs', None, 'Folders of a run, or of its folds.')
  flags.DEFINE_list('against', None, 'Those of the other one.')
  flags.mark_flags_as_required(['workdirs', 'against'])
  command_line.run(main)
