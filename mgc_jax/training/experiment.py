"""Runs an experiment from configuration to results; `main` dispatches to it."""

import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mgc_jax.config.schema import Config, EvalConfig, TrainConfig
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.preparation_report import preparation_report
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.records import Prepared
from mgc_jax.datasets.split_file import write_split
from mgc_jax.datasets.splits import (
  Examples,
  Splits,
  make_splits,
  own_genres,
)
from mgc_jax.distributed.mesh import (
  check_same,
  first_process_first,
  of_writer,
  wait_for_all,
)
from mgc_jax.evaluation import predictions, report
from mgc_jax.evaluation.calibration import calibration
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import DataError
from mgc_jax.training import run_plots, trained_on
from mgc_jax.training.finetune import check_init_from
from mgc_jax.training.metrics_log import check_tensorboard
from mgc_jax.training.run_writer import BUNDLE_FOLDER, RunWriter
from mgc_jax.training.workdir import check_workdir, locked_workdir

_logger = logging.getLogger(__name__)


def train_and_evaluate(config_dict: ConfigDict, workdir: pathlib.Path) -> None:
  """Prepares the data, trains, evaluates, and prints the result.

  Args:
    config_dict: the configuration, overrides applied.
    workdir: the run's folder; if there is a run in it, it is continued.

  Raises:
    ConfigError: a field is wrong, or the run in `workdir` has other settings.
    DataError: the data cannot be used.
  """
  config = Config.from_dict(config_dict)
  check_init_from(config)  # before hours of preparation
  with locked_workdir(workdir) as writer:
    writer.once(check_tensorboard, config.train)
    check_workdir(config, workdir)
    prepared, splits = _prepared(config, writer)
    num_genres = len(prepared.index.genres)
    model = dataclasses.replace(config.model, num_genres=num_genres)
    config = dataclasses.replace(config, model=model)
    # If there is nothing to evaluate, it fails before hours of training.
    eval_split, _ = splits.eval_examples(config.data.eval_split)
    _warn_of_optimism(eval_split.split(','), config.train)
    from mgc_jax.datasets.reader import Reader  # tensorflow: seconds to import
    from mgc_jax.training.trainer import train

    own = own_genres(prepared) if config.train.own_genres_only else None
    reader = Reader(prepared.index, own)
    train(config, splits, reader, writer)
    wait_for_all('the bundle')
    results = evaluate_bundle(config, writer, prepared, splits, workdir)
    writer.once(run_plots.plot_data, workdir, config.features, reader, splits)
    writer.once(run_plots.plot_training, workdir)
    writer.once(_show, results, workdir)


def _prepared(config: Config, writer: RunWriter) -> tuple[Prepared, Splits]:
  """Prepares the data, in the first process before the others."""
  with first_process_first('records of the first process'):
    prepared = prepare(config)
  splits = make_splits(prepared, config)
  writer.once(write_split, splits, prepared.index, config.data)
  writer.once(_report_preparation, prepared, splits)
  # No process trains while another still prepares on a disk of its own.
  wait_for_all('records of all processes')
  check_same('data', splits.fingerprint(prepared.index))
  return prepared, splits


def _report_preparation(prepared: Prepared, splits: Splits) -> None:
  print(preparation_report(prepared, splits))


def evaluate_only(config_dict: ConfigDict, workdir: pathlib.Path) -> None:
  """Evaluates a run's bundle on the data that the configuration names.

  Features, windows and model come from the bundle; genres are matched by name.
  The results do not replace the run's own: they are in a folder under
  `evaluations`, named after the data and the splits.

  Args:
    config_dict: only `data` and `eval` are used.
    workdir: the run's folder.

  Raises:
    ConfigError: a field is wrong.
    DataError: there is no bundle, or the data has a genre that it lacks.
  """
  bundle = bundles.load(workdir / BUNDLE_FOLDER)
  found, own = config_dict.to_dict(), bundle.config.to_dict()
  for section in ('features', 'windows', 'model'):
    found[section] = own[section]
  # An unknown genre is rejected before anything is decoded.
  found['data']['genres'] = bundle.genres
  config = Config.from_dict(found)
  with locked_workdir(workdir) as writer:
    prepared, splits = _prepared(config, writer)
    evaluated, examples = splits.eval_examples(config.data.eval_split)
    num_seen = trained_on.count_seen_in_training(
      workdir, prepared.index, examples
    )
    if num_seen is None:
      _logger.warning(
        '%s: has no list of the tracks that it was trained on, so some of '
        'them may be evaluated; the training command writes the list',
        workdir,
      )
    elif num_seen:
      _logger.warning('%d of the evaluated tracks were trained on', num_seen)
    data = splits.fingerprint(prepared.index)[:12]
    to = workdir / 'evaluations' / f'{data}-{evaluated.replace(",", "+")}'
    writer.once(to.mkdir, parents=True, exist_ok=True)
    results = evaluate_bundle(config, writer, prepared, splits, to)
    writer.once(_show, results, to)


def _show(results: dict[str, Any], folder: pathlib.Path) -> None:
  """Draws and prints results that are written already."""
  run_plots.plot_confusion(folder, results)
  print(report.result_table(results))
  print(f'All results are in {folder}')


def evaluate_bundle(
  config: Config,
  writer: RunWriter,
  prepared: Prepared,
  splits: Splits,
  to: pathlib.Path,
) -> dict[str, Any]:
  """Evaluates a run's bundle, and writes predictions and results.

  Args:
    config: only `data.eval_split` and `eval` are used.
    writer: of the run, whose folder has a bundle.
    prepared: the records.
    splits: the splits of the records.
    to: receives the results. If results of the same bundle, data and settings
      are in it already, nothing is evaluated.

  Returns:
    The content of `results.json`.
  """
  from mgc_jax.evaluation.evaluate import score, source_scores

  folder = writer.workdir / BUNDLE_FOLDER
  bundle = bundles.load(folder)
  eval_split, examples = splits.eval_examples(config.data.eval_split)
  key = {
    'protocol': splits.protocol,
    'split': eval_split,
    'seed': bundle.info.get('seed'),
    'num_params': bundle.num_params,
    'genres': list(bundle.genres),
    **_about_artists(prepared.index, examples),
    'temperature': bundle.temperature,
    'num_bootstrap': config.eval.num_bootstrap,
    'data_fingerprint': splits.fingerprint(prepared.index),
    'weights_sha256': bundles.digest(folder),
    'versions': report.versions(),
  }
  path = to / report.RESULTS_FILE
  found = _read_results(path)
  known = {name: found.get(name) for name in key} == key
  # Evaluated again if a field or the predictions are missing.
  known = known and 'calibration' in found and _has_predictions(to)
  # One process decides, because all must take part in an evaluation.
  if not of_writer(known):
    index = _with_labels_of(bundle, prepared.index)
    predicted = _predict(bundle, config.eval, index, examples)
    temperature, num_bootstrap = bundle.temperature, config.eval.num_bootstrap
    source = {name: track.source for name, track in prepared.tracks.items()}
    found = {
      **score(predicted, temperature, num_bootstrap),
      'per_source': source_scores(
        predicted, source, temperature, num_bootstrap
      ),
      'calibration': calibration(predicted, temperature),
      'track_accuracy_ci95_artists': predictions.artist_ci95(
        [predicted], num_bootstrap, temperature
      ),
      **key,
    }
    # Results last, so that where they are, the predictions are, too.
    writer.once(predictions.write, predicted, to, temperature)
    writer.once(report.write_json, path, found)
  return found


def _about_artists(index: ExcerptIndex, examples: Examples) -> dict[str, Any]:
  """Returns the number of tracks without an artist, and a digest of artists.

  The digest changes when an artist's name is corrected.
  """
  rows = np.unique(examples.rows)
  pairs = sorted(
    set(zip(index.track_id[rows], index.artist[rows], strict=True))
  )
  return {
    'num_tracks_without_artist': sum(not artist for _, artist in pairs),
    'artists_sha256': hashlib.sha256(ascii(pairs).encode()).hexdigest(),
  }


def _with_labels_of(
  bundle: bundles.Bundle, index: ExcerptIndex
) -> ExcerptIndex:
  """Returns the index with labels that index the bundle's genres."""
  numbers = np.array([bundle.genres.index(genre) for genre in index.genres])
  return dataclasses.replace(
    index, genres=bundle.genres, label=numbers[index.label]
  )


def _warn_of_optimism(splits: list[str], train: TrainConfig) -> None:
  """Warns if the result will be better than on tracks not seen in training."""
  if 'train' in splits:
    _logger.warning('the evaluated tracks are trained on')
  if 'valid' in splits and (train.select == 'best' or train.patience_epochs):
    _logger.warning(
      'the best epoch is chosen on tracks that are evaluated, so the result '
      'is biased upwards; with config.train.select=last and no patience it is '
      'not'
    )


def _predict(
  bundle: bundles.Bundle,
  settings: EvalConfig,
  index: ExcerptIndex,
  examples: Examples,
) -> predictions.Predictions:
  from mgc_jax.datasets.reader import Reader
  from mgc_jax.distributed.mesh import check_batch_size, data_mesh
  from mgc_jax.evaluation.evaluate import make_forward, predict_examples
  from mgc_jax.models import create_model

  mesh = data_mesh()
  check_batch_size('eval.batch_size', settings.batch_size, mesh)
  forward = functools.partial(
    make_forward(create_model(bundle.config), bundle.config.windows, mesh),
    bundle.variables,
    bundle.band_mean,
    bundle.band_std,
  )
  return predict_examples(forward, Reader(index), examples, settings, mesh)


def _has_predictions(workdir: pathlib.Path) -> bool:
  try:
    predictions.read(workdir)
  except DataError:
    return False
  return True


def _read_results(path: pathlib.Path) -> dict[str, Any]:
  try:
    return dict(json.loads(path.read_text(encoding='utf-8')))
  except (OSError, TypeError, ValueError):
    return {}
