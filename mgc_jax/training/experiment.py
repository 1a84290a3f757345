"""One run from configuration to result: what `main` dispatches to."""

import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mgc_jax.config.schema import validate
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.preparation_report import preparation_report
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.records import Prepared
from mgc_jax.datasets.split_file import write_split
from mgc_jax.datasets.splits import Examples, Splits, make_splits
from mgc_jax.distributed.mesh import (
  check_same,
  is_writer,
  of_writer,
  wait_for_all,
)
from mgc_jax.evaluation import predictions, report
from mgc_jax.evaluation.calibration import calibration
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import DataError
from mgc_jax.training import run_plots, trained_on
from mgc_jax.training.finetune import check_init_from
from mgc_jax.training.workdir import (
  CONFIG_FILE,
  check_workdir,
  locked_workdir,
)

_logger = logging.getLogger(__name__)


def train_and_evaluate(config: ConfigDict, workdir: pathlib.Path) -> None:
  """Prepares, trains, evaluates, and prints the result.

  Args:
    config: the configuration, overrides applied.
    workdir: receives everything; a run that is there is continued.

  Raises:
    ConfigError: a field is wrong, or the run in `workdir` has other settings.
    DataError: the data cannot be used.
  """
  validate(config)
  check_init_from(config)  # before hours of preparing
  with locked_workdir(workdir):
    check_workdir(config, workdir)
    prepared, splits = _prepared(config)
    config.model.num_genres = len(prepared.index.genres)
    # Fails before hours of training where there is nothing to evaluate.
    eval_split, _ = splits.eval_examples(config.data.eval_split)
    _warn_of_optimism(eval_split.split(','), config.train)
    from mgc_jax.datasets.reader import Reader  # tensorflow: seconds to import
    from mgc_jax.training.trainer import Trainer

    reader = Reader(prepared.index)
    trainer = Trainer(config, workdir, splits, reader)
    # Only now: a run that cannot begin must not bind its folder to settings.
    if is_writer() and not (workdir / CONFIG_FILE).exists():
      report.write_json(workdir / CONFIG_FILE, config.to_dict())
    if is_writer() and not (workdir / trained_on.FILE).exists():
      trained_on.write(workdir, prepared.index, splits.examples['train'])
    trainer.run()
    wait_for_all('the bundle')
    results = evaluate_bundle(config, workdir, prepared, splits, workdir)
    if is_writer():
      run_plots.plot_data(workdir, config, reader, splits)
      run_plots.plot_training(workdir)
      _finish(results, workdir)


def _prepared(config: ConfigDict) -> tuple[Prepared, Splits]:
  """Prepares in one process after another, and prints the report in one."""
  if not is_writer():
    wait_for_all('records of the first process')
  prepared = prepare(config)
  if is_writer():
    wait_for_all('records of the first process')
  splits = make_splits(prepared, config)
  if is_writer():
    write_split(splits, prepared.index, config.data)
    print(preparation_report(prepared, splits))
  # Nobody trains while another still prepares on a disk of its own.
  wait_for_all('records of all processes')
  check_same('data', splits.fingerprint(prepared.index))
  return prepared, splits


def evaluate_only(config: ConfigDict, workdir: pathlib.Path) -> None:
  """Evaluates the bundle of a run on the data that the configuration names.

  Features, windows and model come from the bundle, genres are matched by
  name. The run's own results stay: these are in a folder of `evaluations`,
  named by the data and the splits.

  Args:
    config: `data` and `eval` are read.
    workdir: of the run.

  Raises:
    ConfigError: a field is wrong.
    DataError: there is no bundle, or it does not know a genre of the data.
  """
  bundle = bundles.load(workdir / 'bundle')
  for section in ('features', 'windows', 'model'):
    config[section] = bundle.config[section]
  validate(config)
  config.data.genres = bundle.genres  # refused before anything is decoded
  with locked_workdir(workdir):
    prepared, splits = _prepared(config)
    evaluated, examples = splits.eval_examples(config.data.eval_split)
    num_heard = trained_on.count_seen_in_training(
      workdir, prepared.index, examples
    )
    if num_heard is None:
      _logger.warning(
        '%s: keeps no list of what was trained on, so the evaluated tracks may '
        'be among that; the training command makes the list',
        workdir,
      )
    elif num_heard:
      _logger.warning('%d of the evaluated tracks were trained on', num_heard)
    data = splits.fingerprint(prepared.index)[:12]
    to = workdir / 'evaluations' / f'{data}-{evaluated.replace(",", "+")}'
    if is_writer():
      to.mkdir(parents=True, exist_ok=True)
    results = evaluate_bundle(config, workdir, prepared, splits, to)
    if is_writer():
      _finish(results, to)


def _finish(results: dict[str, Any], to: pathlib.Path) -> None:
  """Draws and prints results that are written already."""
  run_plots.plot_confusion(to, results)
  print(report.result_table(results))
  print(f'All of it is in {to}')


def evaluate_bundle(
  config: ConfigDict,
  workdir: pathlib.Path,
  prepared: Prepared,
  splits: Splits,
  to: pathlib.Path,
) -> dict[str, Any]:
  """Scores a bundle, and writes predictions and results.

  Every process has its part in scoring; one writes.

  Args:
    config: `data.eval_split` and `eval` are read.
    workdir: of the run; has a bundle.
    prepared: the records.
    splits: of the records.
    to: folder of the results; one of the same question is not made anew.

  Returns:
    The results, as they are in `results.json`.
  """
  from mgc_jax.evaluation.evaluate import score, source_scores

  bundle = bundles.load(workdir / 'bundle')
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
    'weights_sha256': bundles.digest(workdir / 'bundle'),
    'versions': report.versions(),
  }
  path = to / report.RESULTS_FILE
  found = _read_results(path)
  known = {name: found.get(name) for name in key} == key
  # Of an older version, or without its answers: it is evaluated again.
  known = known and 'calibration' in found and _has_answers(to)
  # One process decides: those that score need each other.
  if not of_writer(known):
    index = _with_labels_of(bundle, prepared.index)
    answers = _predict(bundle, config, index, examples)
    temperature, num_bootstrap = bundle.temperature, config.eval.num_bootstrap
    source = {name: track.source for name, track in prepared.tracks.items()}
    found = {
      **score(answers, temperature, num_bootstrap),
      'per_source': source_scores(answers, source, temperature, num_bootstrap),
      'calibration': calibration(answers, temperature),
      'track_accuracy_ci95_artists': predictions.artist_ci95(
        [answers], num_bootstrap, temperature
      ),
      **key,
    }
    if is_writer():
      # Results last: where they are, the predictions are, too.
      predictions.write(answers, to, temperature)
      report.write_json(path, found)
  return found


def _about_artists(index: ExcerptIndex, examples: Examples) -> dict[str, Any]:
  """Returns how many are unknown, and what tells one list from a mended one."""
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
  """Returns the index with labels into the bundle's genres, by name."""
  numbers = np.array([bundle.genres.index(genre) for genre in index.genres])
  return dataclasses.replace(
    index, genres=bundle.genres, label=numbers[index.label]
  )


def _warn_of_optimism(splits: list[str], train: ConfigDict) -> None:
  """Says so where a result will be better than on unheard tracks."""
  if 'train' in splits:
    _logger.warning('the evaluated tracks are trained on')
  if 'valid' in splits and (train.select == 'best' or train.patience_epochs):
    _logger.warning(
      'the best epoch is chosen on tracks that are evaluated, so the result '
      'is too good; config.train.select=last without patience is honest'
    )


def _predict(
  bundle: bundles.Bundle,
  config: ConfigDict,
  index: ExcerptIndex,
  examples: Examples,
) -> predictions.Predictions:
  from mgc_jax.datasets.reader import Reader
  from mgc_jax.distributed.mesh import check_batch_size, data_mesh
  from mgc_jax.evaluation.evaluate import make_forward, predict_examples
  from mgc_jax.models import create_model

  mesh = data_mesh()
  check_batch_size('eval.batch_size', config.eval.batch_size, mesh)
  forward = functools.partial(
    make_forward(create_model(bundle.config), bundle.config.windows, mesh),
    bundle.variables,
    bundle.band_mean,
    bundle.band_std,
  )
  return predict_examples(forward, Reader(index), examples, config, mesh)


def _has_answers(workdir: pathlib.Path) -> bool:
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
