"""Compares two models, track by track, on tracks that both were tested on.

Two intervals that overlap say little of two models that were asked the same:
most of what makes a track hard is hard for both. The differences of single
tracks are what is resampled here (the paired bootstrap, Efron and Tibshirani
1993).

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
    `difference`, and `ci95` of that: tracks are drawn.

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
  rng = np.random.default_rng(0)
  drawn = rng.integers(0, len(of), (_NUM_BOOTSTRAP, len(of)))
  found: dict = {'num_tracks': len(of)}
  names = 'track_accuracy', 'negative_log_likelihood'
  for column, name in enumerate(names, 1):
    ours, theirs = (
      np.array([answers[track][column] for track in sorted(of)], np.float64)
      for answers in (of, other)
    )
    differences = ours - theirs
    bounds = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    found[name] = {
      'of': float(ours.mean()),
      'against': float(theirs.mean()),
      'difference': float(differences.mean()),
      'ci95': bounds.tolist(),
    }
  return found


def _answers(
  workdirs: Sequence[pathlib.Path],
) -> dict[str, tuple[str, bool, float]]:
  """Returns of each track its genre, whether it was found, and -log p."""
  found: dict[str, tuple[str, bool, float]] = {}
  for workdir in workdirs:
    answers = predictions.read(workdir)
    probabilities, label = answers.track_probabilities(), answers.track_label()
    for track, row, genre in zip(
      map(str, answers.tracks()), probabilities, label, strict=True
    ):
      if track in found:
        raise ConfigError(
          f'{workdir}: {track} was tested by another run, too; name the folds '
          'of one seed'
        )
      loss = -float(np.log(max(row[genre], 1e-12)))
      found[track] = answers.genres[genre], row.argmax() == genre, loss
  return found


def _text(found: dict) -> str:
  accuracy, loss = (
    found['track_accuracy'],
    found['negative_log_likelihood'],
  )
  low, high = accuracy['ci95']
  low_loss, high_loss = loss['ci95']
  return (
    f'{found["num_tracks"]} tracks, differences with 95 % intervals over them\n'
    f'track accuracy            {accuracy["of"]:.1%} against '
    f'{accuracy["against"]:.1%}: {100 * accuracy["difference"]:+.1f} points '
    f'({100 * low:+.1f} to {100 * high:+.1f})\n'
    f'negative log likelihood   {loss["of"]:.3f} against '
    f'{loss["against"]:.3f}: {loss["difference"]:+.3f} '
    f'({low_loss:+.3f} to {high_loss:+.3f})'
  )


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
