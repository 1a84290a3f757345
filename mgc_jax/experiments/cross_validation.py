"""Pools the folds of a cross-validation into one result.

Each track is tested in one fold, so the folds' confusion matrices add up to
that of the whole set. How well the probabilities hold is measured likewise:
each fold with the temperature that suits the others.

Example:
  for k in 0 1 2 3 4; do
    python -m mgc_jax.main --config=configs/crnn.py --workdir=runs/fold$k \
      --config.data.num_folds=5 --config.data.fold=$k
  done
  python -m mgc_jax.experiments.cross_validation \
    --workdirs=$(echo runs/fold? | tr ' ' ,)

With --calibrate=runs/all/bundle that model, trained on all tracks, is given the
temperature at which the folds' answers are likeliest.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
from absl import flags

from mgc_jax.evaluation import metrics, predictions, report
from mgc_jax.evaluation.calibration import cross_calibration
from mgc_jax.models import bundle as bundles
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training.workdir import CONFIG_FILE, FREE_FIELDS

_NUM_BOOTSTRAP = 2000


def pool(workdirs: list[pathlib.Path]) -> dict[str, Any]:
  """Returns the pooled result.

  Args:
    workdirs: of the folds, each trained and evaluated in its test split.

  Returns:
    The track-level fields of `results.json` over all folds,
    `num_tracks_without_artist`, `num_folds`, and `fold_track_accuracies`.

  Raises:
    ConfigError: they are not all the folds of one cross-validation.
    DataError: a run has no result.
  """
  if not workdirs:
    raise ConfigError('--workdirs: names no run')
  configs = [_settings(folder / CONFIG_FILE) for folder in workdirs]
  results = [_read(folder / report.RESULTS_FILE) for folder in workdirs]
  try:
    folds = [config['data'].pop('fold') for config in configs]
    num_folds = configs[0]['data']['num_folds']
    for result in results:
      _ = result['genres'], result['split'], result['confusion_matrix']
  except (LookupError, TypeError, AttributeError) as error:
    raise DataError(
      f'{workdirs[0].parent}: a damaged result (no {error}); run them again'
    ) from error
  if sorted(folds) != list(range(num_folds)):
    raise ConfigError(
      f'folds {sorted(folds)} of {num_folds}: name each fold once'
    )
  for folder, config, result in zip(workdirs, configs, results, strict=True):
    if config != configs[0] or result['genres'] != results[0]['genres']:
      raise ConfigError(f'{folder}: other settings than {workdirs[0]}')
    if result['split'] != 'test':
      raise ConfigError(f'{folder}: evaluated on {result["split"]}, not test')
  confusion = np.sum([result['confusion_matrix'] for result in results], axis=0)
  genres = results[0]['genres']
  # None of a run of before they were counted.
  unknown: list[Any] = [
    result.get('num_tracks_without_artist') for result in results
  ]
  return {
    **metrics.confusion_scores(confusion, tuple(genres)),
    'protocol': results[0]['protocol'],
    'genres': genres,
    'num_folds': num_folds,
    'num_tracks_without_artist': None if None in unknown else sum(unknown),
    'fold_track_accuracies': [result['track_accuracy'] for result in results],
  }


def _settings(path: pathlib.Path) -> dict[str, Any]:
  """Reads a configuration, less what changes no result."""
  config = _read(path)
  for name in FREE_FIELDS:
    section, _, field = name.partition('.')
    if isinstance(config.get(section), dict):
      config[section].pop(field, None)
  return config


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    return dict(json.loads(path.read_text(encoding='utf-8')))
  except (OSError, TypeError, ValueError) as error:
    raise DataError(f'{path}: {error}; run this fold to its end') from error


def pool_with_calibration(workdirs: list[pathlib.Path]) -> dict[str, Any]:
  """Returns what `pool` does, and what the tracks' answers tell.

  Args:
    workdirs: as of `pool`.

  Returns:
    That of `pool`, `track_accuracy_ci95_artists`, where artists are drawn and
    not tracks, and `calibration`, of `calibration.cross_calibration`.

  Raises:
    ConfigError: as `pool`.
    DataError: as `pool`, or the answers of a run are missing.
  """
  found = pool(workdirs)
  folds = [predictions.read(folder) for folder in workdirs]
  tracks, counts = np.unique(
    np.concatenate([answers.tracks() for answers in folds]), return_counts=True
  )
  if counts.max() > 1:
    raise ConfigError(
      f'{tracks[counts.argmax()]}: tested in {counts.max()} folds; they are '
      'not of the same data'
    )
  return {
    **found,
    'track_accuracy_ci95_artists': predictions.artist_ci95(
      folds, _NUM_BOOTSTRAP
    ),
    'calibration': cross_calibration(folds),
  }


def calibrate(
  bundle_dir: pathlib.Path, workdir: pathlib.Path, temperature: float
) -> None:
  """Sets the temperature of a model that was trained on all tracks.

  Args:
    bundle_dir: of the model.
    workdir: of a fold, whose settings the model must have.
    temperature: of `cross_calibration`.

  Raises:
    ConfigError: the bundle is not of the folds' model.
    DataError: a bundle cannot be read, or written.
  """
  bundle, other = bundles.load(bundle_dir), bundles.load(workdir / 'bundle')
  for section in ('features', 'windows', 'model'):
    if bundle.config[section] != other.config[section]:
      raise ConfigError(f'{bundle_dir}: other {section} than {workdir}')
  if bundle.genres != other.genres:
    raise ConfigError(f'{bundle_dir}: other genres than {workdir}')
  changed = dataclasses.replace(bundle, temperature=temperature)
  try:
    bundles.save(changed, bundle_dir)
  except OSError as error:
    raise DataError(f'{bundle_dir}: cannot be written: {error}') from error


def main() -> None:
  """Prints the pooled result."""
  workdirs = [pathlib.Path(folder) for folder in flags.FLAGS.workdirs]
  found = pool_with_calibration(workdirs)
  folds = ', '.join(f'{x:.1%}' for x in found['fold_track_accuracies'])
  lines = [
    f'Protocol {found["protocol"]}, {found["num_folds"]} folds, '
    f'{found["num_tracks"]} tracks',
    f'track accuracy   {report.accuracy_text(found)}',
    f'of the folds     {folds}',
    f'macro F1         {found["macro_f1"]:.3f}',
    *report.artists_line(found),
    *report.genre_table(found['per_genre']),
    *report.calibration_table(found['calibration']),
  ]
  print('\n'.join(lines))
  if flags.FLAGS.calibrate:
    bundle = pathlib.Path(flags.FLAGS.calibrate)
    calibrate(bundle, workdirs[0], found['calibration']['temperature'])
    print(f'{bundle}: has this temperature')


if __name__ == '__main__':
  flags.DEFINE_list('workdirs', None, 'Folders of the folds: a,b,c.')
  flags.DEFINE_string(
    'calibrate', None, 'A bundle that is given the temperature of the folds.'
  )
  flags.mark_flag_as_required('workdirs')
  command_line.run(main)
