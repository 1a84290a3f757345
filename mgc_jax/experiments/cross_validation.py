r"""Combines the folds of a cross-validation into one result.

Each track is tested in exactly one fold, so the sum of the folds' confusion
matrices is the confusion matrix of the whole data set. The calibration of the
probabilities is measured with each fold at the temperature that is fitted on
the other folds.

Example:
  for k in 0 1 2 3 4; do
    mgc train --config=configs/crnn.py --workdir=runs/fold$k \
      --config.data.num_folds=5 --config.data.fold=$k
  done
  mgc cross-validate --workdirs=$(echo runs/fold? | tr ' ' ,)

--calibrate=runs/all/bundle sets the temperature of that model, which is trained
on all tracks, to the value fitted on the held-out folds.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mgc_jax.evaluation import metrics, predictions, report
from mgc_jax.evaluation.calibration import cross_calibration
from mgc_jax.experiments import flags
from mgc_jax.models import bundle as bundles
from mgc_jax.system.arguments import Command, Parser
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training.workdir import CONFIG_FILE, FREE_FIELDS, read_settings

_NUM_BOOTSTRAP = 2000


def combine_folds(workdirs: list[pathlib.Path]) -> dict[str, Any]:
  """Computes the scores of a cross-validation from the results of its folds.

  Args:
    workdirs: folders of all folds, each evaluated on its test split.

  Returns:
    The track-level fields of `results.json` over all folds,
    `num_tracks_without_artist`, `num_folds`, and `fold_track_accuracies`.

  Raises:
    ConfigError: the runs are not exactly the folds of one cross-validation.
    DataError: a run has no result.
  """
  if not workdirs:
    raise ConfigError('--workdirs: lists no run')
  configs = [_settings(folder / CONFIG_FILE) for folder in workdirs]
  results = [_read(folder / report.RESULTS_FILE) for folder in workdirs]
  try:
    folds = [config['data'].pop('fold') for config in configs]
    num_folds = configs[0]['data']['num_folds']
    for result in results:
      _ = result['genres'], result['split'], result['confusion_matrix']
  except (LookupError, TypeError, AttributeError) as error:
    raise DataError(
      f'{workdirs[0].parent}: a result is damaged (no {error}); '
      'run the folds again'
    ) from error
  if sorted(folds) != list(range(num_folds)):
    raise ConfigError(
      f'folds {sorted(folds)} of {num_folds}: list each fold once'
    )
  for folder, config, result in zip(workdirs, configs, results, strict=True):
    if config != configs[0] or result['genres'] != results[0]['genres']:
      raise ConfigError(
        f'{folder}: its settings differ from those of {workdirs[0]}'
      )
    if result['split'] != 'test':
      raise ConfigError(f'{folder}: evaluated on {result["split"]}, not test')
  confusion = np.sum([result['confusion_matrix'] for result in results], axis=0)
  genres = results[0]['genres']
  # None for a run of a version that did not count them.
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


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  return dict(json.loads(path.read_text(encoding='utf-8')))


def _settings(path: pathlib.Path) -> dict[str, Any]:
  """Reads a configuration without the fields that cannot change a result."""
  config = _read(path, read_settings)
  for name in FREE_FIELDS:
    section, _, field = name.partition('.')
    if isinstance(config.get(section), dict):
      config[section].pop(field, None)
  return config


def _read(
  path: pathlib.Path, read: Callable[[pathlib.Path], dict] = _read_json
) -> dict[str, Any]:
  try:
    return read(path)
  except (OSError, TypeError, ValueError) as error:
    raise DataError(
      f'{path}: {error}; finish the training of this fold'
    ) from error


def evaluate_folds(workdirs: list[pathlib.Path]) -> dict[str, Any]:
  """Scores a cross-validation from the results and predictions of its folds.

  Args:
    workdirs: folders of all folds, each evaluated on its test split.

  Returns:
    The fields of `combine_folds`; `track_accuracy_ci95_artists`, for which
    artists are resampled instead of tracks; and `calibration`, made by
    `calibration.cross_calibration`.

  Raises:
    ConfigError: the runs are not exactly the folds of one cross-validation.
    DataError: the result or the predictions of a run are missing.
  """
  found = combine_folds(workdirs)
  folds = [predictions.read(folder) for folder in workdirs]
  tracks, counts = np.unique(
    np.concatenate([fold.tracks() for fold in folds]), return_counts=True
  )
  if counts.max() > 1:
    raise ConfigError(
      f'{tracks[counts.argmax()]}: tested in {counts.max()} folds, which '
      'therefore do not have the same data'
    )
  return {
    **found,
    'track_accuracy_ci95_artists': predictions.artist_ci95(
      folds, _NUM_BOOTSTRAP
    ),
    'calibration': cross_calibration(folds),
  }


def set_temperature(
  bundle_dir: pathlib.Path, workdir: pathlib.Path, temperature: float
) -> None:
  """Sets the temperature of a model that was trained on all tracks.

  Args:
    bundle_dir: the bundle of the model; it is rewritten.
    workdir: folder of a fold, whose settings the model must have.
    temperature: fitted by `cross_calibration`.

  Raises:
    ConfigError: the settings or genres of the bundle differ from the fold's.
    DataError: a bundle cannot be read or written.
  """
  bundle, other = bundles.load(bundle_dir), bundles.load(workdir / 'bundle')
  for section in ('features', 'windows', 'model'):
    if getattr(bundle.config, section) != getattr(other.config, section):
      raise ConfigError(f'{bundle_dir}: its {section} differ from {workdir}')
  if bundle.genres != other.genres:
    raise ConfigError(f'{bundle_dir}: its genres differ from {workdir}')
  changed = dataclasses.replace(bundle, temperature=temperature)
  try:
    bundles.save(changed, bundle_dir)
  except OSError as error:
    raise DataError(f'{bundle_dir}: cannot be written: {error}') from error


def _run(args: argparse.Namespace) -> None:
  """Prints the combined result."""
  workdirs = [pathlib.Path(folder) for folder in args.workdirs]
  found = evaluate_folds(workdirs)
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
  if args.calibrate:
    bundle = pathlib.Path(args.calibrate)
    set_temperature(bundle, workdirs[0], found['calibration']['temperature'])
    print(f'{bundle}: now has this temperature')


def _add_arguments(parser: Parser) -> None:
  flags.add_workdirs(parser, 'Folders of the folds: a,b,c.')
  parser.add_argument(
    '--calibrate',
    metavar='DIR',
    help='A bundle whose temperature is set to that of the folds.',
  )


COMMAND = Command(__doc__, _add_arguments, _run)
