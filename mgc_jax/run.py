"""One run from configuration to result: what `main` dispatches to."""

import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
from typing import Any

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from mgc_jax import bundle as bundles
from mgc_jax import report
from mgc_jax.config import validate
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.prepare import Prepared, prepare
from mgc_jax.datasets.splits import Examples, Split, make_splits
from mgc_jax.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

CONFIG_FILE = 'config.json'
# What may differ between two commands of one run: it changes no result.
_FREE_FIELDS = (
  'data.num_workers',
  'data.prepared_dir',
  'data.allow_missing',
  'data.root',
  'model.num_genres',  # filled from the data
)


def resolve_workdir(
  workdir: str | None, config: ConfigDict, config_path: str, mode: str
) -> pathlib.Path:
  """Returns the folder of a run; a default one is named by its settings.

  Args:
    workdir: as given on the command line.
    config: the configuration, overrides applied.
    config_path: of the config file.
    mode: train or evaluate.

  Raises:
    ConfigError: there is none to evaluate.
  """
  if workdir:
    return pathlib.Path(workdir)
  if mode == 'evaluate':
    raise ConfigError('--workdir: unset; name the run to evaluate')
  digest = hashlib.sha256(config.to_json(sort_keys=True).encode()).hexdigest()
  path = pathlib.Path('runs') / f'{pathlib.Path(config_path).stem}-{digest[:8]}'
  _logger.info('--workdir is not set; using %s', path)
  return path


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
  _check_workdir(config, workdir)
  prepared = prepare(config)
  config.model.num_genres = len(prepared.index.genres)
  if not (workdir / CONFIG_FILE).exists():
    report.write_json(workdir / CONFIG_FILE, config.to_dict())
  split = make_splits(prepared, config)
  print(report.preparation_report(prepared, split))
  # Fails before hours of training where there is nothing to evaluate.
  eval_split, _ = split.eval_examples(config.data.eval_split)
  if eval_split == 'valid' and config.train.select == 'best':
    _logger.warning(
      'the best epoch is chosen on the tracks that are evaluated, so the '
      'result is too good; config.train.select=last is honest'
    )
  from mgc_jax.input_pipeline import Reader  # tensorflow: seconds to import
  from mgc_jax.train import Trainer

  reader = Reader(prepared.index)
  Trainer(config, workdir, split, reader).run()
  _plot_data(workdir, config, reader, split)
  evaluate_bundle(config, workdir, prepared, split)


def evaluate_only(config: ConfigDict, workdir: pathlib.Path) -> None:
  """Evaluates the bundle of a run on the data that the configuration names.

  Features, windows and model come from the bundle, genres are matched by
  name.

  Args:
    config: `data`, `eval` and `seed` are read.
    workdir: of the run.

  Raises:
    ConfigError: a field is wrong.
    DataError: there is no bundle, or it does not know a genre of the data.
  """
  bundle = bundles.load(workdir / 'bundle')
  for section in ('features', 'windows', 'model'):
    config[section] = bundle.config[section]
  validate(config)
  prepared = prepare(config)
  split = make_splits(prepared, config)
  print(report.preparation_report(prepared, split))
  evaluate_bundle(config, workdir, prepared, split)


def evaluate_bundle(
  config: ConfigDict,
  workdir: pathlib.Path,
  prepared: Prepared,
  split: Split,
) -> None:
  """Writes and prints `results.json`, and draws curves and confusion.

  Args:
    config: `data.eval_split`, `eval` and `seed` are read.
    workdir: of the run; has a bundle.
    prepared: the records.
    split: of the records.
  """
  bundle = bundles.load(workdir / 'bundle')
  eval_split, examples = split.eval_examples(config.data.eval_split)
  sides = split.side_of_rows(len(prepared.index))
  results = {
    'protocol': split.protocol,
    'split': eval_split,
    'seed': bundle.info['seed'],
    'num_params': bundle.num_params,
    'genres': list(bundle.genres),
    'data_fingerprint': prepared.index.fingerprint(sides),
    'versions': report.versions(),
  }
  path = workdir / report.RESULTS_FILE
  found = _read_results(path)
  weights = bundles.digest(workdir / 'bundle')
  key = {**results, 'weights_sha256': weights}
  if {name: found.get(name) for name in key} != key:
    index = known_genres(prepared.index, bundle.genres, workdir)
    scores = _score(bundle, config, index, examples)
    found = {**scores, **key}
    report.write_json(path, found)
    _plot_results(workdir, found)
  print(report.result_table(found))
  print(f'Everything of this run: {workdir}')


def known_genres(
  index: ExcerptIndex, genres: tuple[str, ...], workdir: pathlib.Path
) -> ExcerptIndex:
  """Returns the index with labels into a bundle's genres, matched by name.

  Args:
    index: of the data.
    genres: of the bundle.
    workdir: of the bundle, for the message.

  Raises:
    DataError: names the genres that the bundle does not know.
  """
  unknown = sorted(set(index.genres) - set(genres))
  if unknown:
    raise DataError(
      f'{workdir}: the model does not know {", ".join(unknown)}; it knows '
      + ', '.join(genres)
    )
  numbers = np.array([genres.index(genre) for genre in index.genres])
  return dataclasses.replace(index, genres=genres, label=numbers[index.label])


def _check_workdir(config: ConfigDict, workdir: pathlib.Path) -> None:
  """Makes the folder, or compares the settings of the run in it."""
  path = workdir / CONFIG_FILE
  wanted = _flat(json.loads(config.to_json()))
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      return
    found = _flat(json.loads(path.read_text(encoding='utf-8')))
  except OSError as error:
    raise DataError(f'{workdir}: cannot be used: {error}') from error
  except ValueError as error:
    raise DataError(
      f'{path}: damaged ({error}); use another --workdir'
    ) from error
  names = sorted(wanted.keys() | found.keys())
  for name in names:
    if name not in _FREE_FIELDS and wanted.get(name) != found.get(name):
      raise ConfigError(
        f'config.{name}={wanted.get(name)}: the run in {workdir} has '
        f'{found.get(name)}; use another --workdir'
      )


def _flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      flat.update(_flat(value, f'{prefix}{name}.'))
    else:
      flat[f'{prefix}{name}'] = value
  return flat


def _score(
  bundle: bundles.Bundle,
  config: ConfigDict,
  index: ExcerptIndex,
  examples: Examples,
) -> dict[str, Any]:
  from mgc_jax.evaluate import make_forward, score_examples
  from mgc_jax.input_pipeline import Reader
  from mgc_jax.models import create_model
  from mgc_jax.partition import check_batch_size, data_mesh

  mesh = data_mesh()
  check_batch_size('eval.batch_size', config.eval.batch_size, mesh)
  forward = functools.partial(
    make_forward(create_model(bundle.config), bundle.config.windows),
    bundle.variables,
    bundle.band_mean,
    bundle.band_std,
  )
  return score_examples(
    forward, Reader(index), examples, config, mesh, bundle.temperature
  )


def _read_results(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return {}


def _plot_data(
  workdir: pathlib.Path, config: ConfigDict, reader: Any, split: Split
) -> None:
  """Draws the data once: distribution, and a training excerpt per genre."""
  from mgc_jax import plots

  index, folder = reader.index, workdir / 'plots'
  if (folder / 'spectrograms.png').exists():
    return
  counts = report.genre_counts(index, split)
  plots.plot_distribution(counts, index.genres, folder / 'distribution.png')
  label = index.label[split.sides['train'].rows]
  present, first = np.unique(label, return_index=True)
  excerpts = {}
  for batch in reader.batches(split.sides['train'], first, len(first)):
    for i, number in enumerate(present):
      frames = batch['frames'][i, : batch['num_frames'][i]]
      excerpts[index.genres[number]] = frames
  plots.plot_spectrograms(
    excerpts, FrozenConfigDict(config.features), folder / 'spectrograms.png'
  )


def _plot_results(workdir: pathlib.Path, results: dict[str, Any]) -> None:
  from mgc_jax import plots
  from mgc_jax.metrics_log import read_metrics

  lines = read_metrics(workdir / 'metrics.jsonl')
  plots.plot_curves(lines, workdir / 'plots' / 'curves.png')
  plots.plot_confusion(results, workdir / 'plots' / 'confusion_matrix.png')
