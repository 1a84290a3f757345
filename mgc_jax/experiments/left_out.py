r"""Tests on each collection a model that was trained on the others.

Within a collection a model can use how it was recorded and selected. What it
does on other people's music is shown by a collection that it has not seen.
Tracks are counted whose genre another collection has as well. Finished runs are
not repeated, so the same command prints the table again.

Example:
  mgc leave-out --config=configs/tags.py --left_out=gtzan,emotify \
    --config.data.source=manifest \
    --config.data.manifest=gtzan/manifest.csv,emotify/manifest.csv
"""

import argparse
import dataclasses
import json
import logging
import pathlib
from typing import Any

import numpy as np

from mgc_jax.evaluation import metrics, predictions
from mgc_jax.evaluation.calibration import calibration, fit_temperature
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.experiments import flags
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.experiments.sweep.runner import check_run, parse_seeds, train
from mgc_jax.system import atomic_file
from mgc_jax.system.arguments import CONTINUES, Command, Parser
from mgc_jax.system.errors import DataError
from mgc_jax.system.tables import markdown_table

_logger = logging.getLogger(__name__)
_NUM_BOOTSTRAP = 2000
RESULTS_FILE = 'left_out.json'


def plan(
  collections: list[str],
  seeds: list[int],
  overrides: list[str],
  workdir: pathlib.Path,
) -> dict[str, list[Run]]:
  """Returns the runs for each collection that is left out, one per seed.

  Args:
    collections: names of collections, each in a separate manifest.
    seeds: random seeds.
    overrides: `--config.FIELD=VALUE` for all runs.
    workdir: gets a folder for each run.
  """
  fixed = (
    '--config.data.protocol=artist',
    '--config.data.valid_fraction=0',
    '--config.train.select=last',
    '--config.data.eval_split=test',
  )
  return {
    name: [
      Run(
        name,
        seed,
        (
          *overrides,
          *fixed,
          f'--config.data.test_source={name}',
          f'--config.seed={seed}',
        ),
        workdir / f'{name}-{seed}',
      )
      for seed in seeds
    ]
    for name in collections
  }


def known_genres(found: dict[str, Predictions]) -> dict[str, set[int]]:
  """Returns for each collection the genres that another one has as well.

  Args:
    found: the predictions for each collection by a model trained on the others;
      their genres are the same.
  """
  present = {name: set(map(int, one.label)) for name, one in found.items()}
  return {
    name: present[name]
    & set().union(*(x for other, x in present.items() if other != name))
    for name in found
  }


def with_genres(found: Predictions, genres: set[int]) -> Predictions:
  """Returns the predictions of the tracks whose true genre is one of a set."""
  chosen = np.isin(found.label, sorted(genres))
  return dataclasses.replace(
    found,
    logits=found.logits[chosen],
    mask=found.mask[chosen],
    label=found.label[chosen],
    track_id=found.track_id[chosen],
    artist=None if found.artist is None else found.artist[chosen],
  )


def score(runs: dict[str, list[Run]]) -> dict[str, Any]:
  """Scores all runs, which are finished.

  Args:
    runs: made by `plan`.

  Returns:
    `rows`, one for each collection with `track_accuracies` by seed,
    `track_accuracy_ci95` and `track_accuracy_ci95_artists` of the first seed,
    `num_tracks`, and `recalls` with the number of correct tracks and of all
    tracks of each genre; and `calibration`, for which the temperature is fitted
    on each collection, and the largest is used, so that the probabilities are
    not too high on any of them.

  Raises:
    DataError: a run has no predictions, or a collection has no genre that
      another one has.
  """
  found = {
    name: [predictions.read(run.workdir) for run in group]
    for name, group in runs.items()
  }
  known = known_genres({name: group[0] for name, group in found.items()})
  for name, genres in known.items():
    if not genres:
      raise DataError(f'{name}: no other collection has one of its genres')
  parts, rows = [], []
  for name, group in found.items():
    group = [with_genres(one, known[name]) for one in group]
    parts.append(group[0])
    rows.append({'collection': name, **_scores(group)})
  temperature = max(fit_temperature([part]) for part in parts)
  return {
    'rows': rows,
    'calibration': {
      'temperature': temperature,
      'collections': {
        row['collection']: calibration(part, temperature)
        for row, part in zip(rows, parts, strict=True)
      },
    },
  }


def _scores(group: list[Predictions]) -> dict[str, Any]:
  """Scores the predictions of one collection by the models of all seeds."""
  first = group[0]
  correct = [
    one.track_probabilities().argmax(axis=1) == one.track_label()
    for one in group
  ]
  label = first.track_label()
  return {
    'num_tracks': len(label),
    'track_accuracies': [float(one.mean()) for one in correct],
    'track_accuracy_ci95': metrics.bootstrap_ci95(
      int(correct[0].sum()), len(label), _NUM_BOOTSTRAP, seed=0
    ),
    'track_accuracy_ci95_artists': predictions.artist_ci95(
      [first], _NUM_BOOTSTRAP
    ),
    'recalls': {
      first.genres[i]: [
        int(correct[0][label == i].sum()),
        int((label == i).sum()),
      ]
      for i in sorted(set(label))
    },
  }


def _text(row: dict[str, Any]) -> list[str]:
  """Returns the cells of a row of the table."""
  accuracies = row['track_accuracies']
  low, high = row['track_accuracy_ci95']
  recalls = [f'{k} {a} of {b}' for k, (a, b) in row['recalls'].items()]
  return [
    row['collection'],
    str(row['num_tracks']),
    f'{np.mean(accuracies):.1%}',
    ', '.join(f'{x:.1%}' for x in accuracies),
    f'{low:.1%} to {high:.1%}',
    ', '.join(recalls),
  ]


def _run(args: argparse.Namespace) -> None:
  """Trains the unfinished runs, and prints the table."""
  workdir = pathlib.Path(args.workdir)
  seeds = parse_seeds(args.seeds)
  runs = plan(args.left_out, seeds, args.overrides, workdir)
  every = [run for group in runs.values() for run in group]
  for run in every:
    check_run(args.config, run)
  for number, run in enumerate(every, 1):
    if not run.result():
      _logger.info('run %d of %d: %s', number, len(every), run.workdir)
      train(args.config, run)
  found = score(runs)
  header = ['left out', 'tracks', 'track accuracy', 'each seed', 'interval']
  header.append('correct, of the first seed')
  print(markdown_table(header, [_text(row) for row in found['rows']]))
  print(f'temperature {found["calibration"]["temperature"]:.2f}')
  data = json.dumps(found, indent=2).encode()
  atomic_file.write_bytes(workdir / RESULTS_FILE, data)


def _add_arguments(parser: Parser) -> None:
  parser.add_config()
  flags.add_left_out(parser, required=True)
  flags.add_seeds(parser, ['0'])
  flags.add_workdir(parser, 'runs/left_out')


COMMAND = Command(__doc__, _add_arguments, _run, CONTINUES)
