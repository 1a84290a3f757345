"""Compares two models, track by track, on tracks that both were tested on.

Two intervals that overlap say little of two models that were asked the same:
most of what makes a track hard is hard for both. The differences of single
tracks are what is resampled here (the paired bootstrap, Efron and Tibshirani
1993), and those of whole artists, whose tracks are not independent.

Example, of a sweep over --config.augment.filter_db=0.0,6.0 and folds:
  python -m mgc_jax.compare \
    --workdirs=$(echo runs/sweep/augment.filter_db=6.0/seed0-fold? | tr ' ' ,) \
    --against=$(echo runs/sweep/augment.filter_db=0.0/seed0-fold? | tr ' ' ,)
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

from mgc_jax import cli, predictions
from mgc_jax.errors import ConfigError
from mgc_jax.metrics import grouped_bootstrap_ci95

_NUM_BOOTSTRAP = 4000


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
    `ci95_artists`, where artists are.

  Raises:
    ConfigError: the two were not tested on the same tracks; or two runs of one
      model were, so that they are no folds.
    DataError: a run has no answers, or damaged ones.
  """
  of, other = _answers(workdirs), _answers(against)
  alone = of.keys() ^ other.keys()
  if alone:
    raise ConfigError(
      f'{workdirs[0]} and {against[0]} were tested on different tracks: '
      f'{len(alone)} are of one only, {min(alone)} among them'
    )
  if any(of[track][0] != other[track][0] for track in of):
    raise ConfigError(
      f'{workdirs[0]} and {against[0]} were told different genres'
    )
  artist = np.array([of[track][3] for track in sorted(of)])
  found: dict = {'num_tracks': len(of)}
  names = 'track_accuracy', 'negative_log_likelihood'
  for column, name in enumerate(names, 1):
    ours, theirs = (
      np.array([answers[track][column] for track in sorted(of)], np.float64)
      for answers in (of, other)
    )
    differences = ours - theirs
    of_tracks, of_artists = (
      grouped_bootstrap_ci95(differences, group, _NUM_BOOTSTRAP)
      for group in (np.arange(len(of)), artist)
    )
    found[name] = {
      'of': float(ours.mean()),
      'against': float(theirs.mean()),
      'difference': float(differences.mean()),
      'ci95': of_tracks,
      'ci95_artists': of_artists,
    }
  return found


def _answers(
  workdirs: Sequence[pathlib.Path],
) -> dict[str, tuple[str, bool, float, str]]:
  """Returns of each track genre, whether it was found, -log p, and artist."""
  found: dict[str, tuple[str, bool, float, str]] = {}
  for workdir in workdirs:
    answers = predictions.read(workdir)
    probabilities, label = answers.track_probabilities(), answers.track_label()
    tracks, artists = map(str, answers.tracks()), answers.track_artist()
    for track, row, genre, artist in zip(
      tracks, probabilities, label, artists, strict=True
    ):
      if track in found:
        raise ConfigError(
          f'{workdir}: {track} was tested by another run, too; name the folds '
          'of one seed'
        )
      loss = -float(np.log(max(row[genre], 1e-12)))
      is_right = bool(row.argmax() == genre)
      found[track] = answers.genres[genre], is_right, loss, str(artist)
  return found


def _text(found: dict) -> str:
  lines = [f'{found["num_tracks"]} tracks; differences with 95 % intervals']
  for name, title, scale, digits in (
    ('track_accuracy', 'track accuracy, %', 100, 1),
    ('negative_log_likelihood', 'negative log-likelihood', 1, 3),
  ):
    row = found[name]
    of, against, difference, *bounds = (
      scale * x
      for x in (
        row['of'],
        row['against'],
        row['difference'],
        *row['ci95'],
        *row['ci95_artists'],
      )
    )
    low, high, *of_artists = (f'{x:+.{digits}f}' for x in bounds)
    lines.append(
      f'{title}: {of:.{digits}f} against {against:.{digits}f}, '
      f'{difference:+.{digits}f} (over tracks {low} to {high}, over artists '
      f'{of_artists[0]} to {of_artists[1]})'
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
  cli.run(main)
