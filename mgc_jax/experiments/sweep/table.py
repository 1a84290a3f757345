"""Summarises the runs of a sweep in a table, a row for each setting."""

import json
import pathlib
from typing import Any

from mgc_jax.evaluation.metrics import MIN_SEEDS, mean_ci95
from mgc_jax.experiments.cross_validation import combine_folds
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError
from mgc_jax.system.tables import markdown_table

JSON_FILE, TABLE_FILE = 'sweep.json', 'sweep.md'
_HEADER = ['settings', 'seeds', 'tracks', 'mean', 'std', '95 % interval']


def write(rows: list[dict[str, Any]], workdir: pathlib.Path) -> None:
  """Writes `sweep.json` and `sweep.md`.

  Args:
    rows: made by `compare`.
    workdir: folder of the sweep.

  Raises:
    DataError: the folder cannot be written.
  """
  try:
    for name, text in (
      (JSON_FILE, json.dumps({'rows': rows}, indent=2)),
      (TABLE_FILE, markdown(rows)),
    ):
      with atomic_file.writing(workdir / name) as partial:
        partial.write_text(f'{text}\n', encoding='utf-8')
  except OSError as error:
    raise DataError(f'{workdir}: the table was not written: {error}') from error


def scores(runs: list[Run]) -> dict[str, dict[int, dict[str, Any]]]:
  """Returns `track_accuracy` and `num_tracks` of each row and seed.

  Args:
    runs: all runs of the sweep, finished. Several runs with the same row and
      seed are folds, which are combined.

  Returns:
    Maps each row to its seeds, and each seed to its scores.

  Raises:
    ConfigError: such runs are not exactly the folds of one cross-validation.
    DataError: rows were evaluated on different tracks; names the folder.
  """
  parts: dict[tuple[str, int], list[Run]] = {}
  for run in runs:
    parts.setdefault((run.row, run.seed), []).append(run)
  found: dict[str, dict[int, dict[str, Any]]] = {}
  for (row, seed), folds in parts.items():
    _check_same_data(runs[: len(folds)], folds)
    if len(folds) > 1:
      result = combine_folds([run.workdir for run in folds])
    else:
      result = folds[0].finished_result()
    found.setdefault(row, {})[seed] = {
      name: result[name] for name in ('track_accuracy', 'num_tracks')
    }
  return found


def compare(
  found: dict[str, dict[int, dict[str, Any]]],
) -> list[dict[str, Any]]:
  """Computes the statistics of each row over its seeds.

  Args:
    found: made by `scores`. The other rows are compared with the first row.

  Returns:
    For each row `settings`, `seeds`, `num_tracks`, `track_accuracies`, and
    their `mean`, `std` and `ci95`. All but the first row also have
    `difference`, the same statistics of the difference to the first row, seed
    by seed.
  """
  rows: list[dict[str, Any]] = []
  first = next(iter(found.values()))
  for settings, by_seed in found.items():
    accuracies = [result['track_accuracy'] for result in by_seed.values()]
    rows.append(
      {
        'settings': settings,
        'seeds': list(by_seed),
        'num_tracks': sorted({r['num_tracks'] for r in by_seed.values()}),
        'track_accuracies': accuracies,
        **mean_ci95(accuracies, 0.0, 1.0),
      }
    )
    if by_seed is not first:
      rows[-1]['difference'] = mean_ci95(
        [
          result['track_accuracy'] - first[seed]['track_accuracy']
          for seed, result in by_seed.items()
        ],
        -1.0,
        1.0,
      )
  return rows


def markdown(rows: list[dict[str, Any]]) -> str:
  """Returns a Markdown table of track accuracies, and a note if seeds are few.

  Its intervals are over seeds: they show how much the randomness of training
  changes the score on the same tracks.

  Args:
    rows: made by `compare`.
  """
  cells = []
  for row in rows:
    line = [
      row['settings'],
      ' '.join(map(str, row['seeds'])),
      ' '.join(map(str, row['num_tracks'])),
      f'{row["mean"]:.1%}',
      _percent(row['std']),
      _interval(row['ci95'], '.1%'),
    ]
    if len(rows) > 1:
      line.append(_difference(row.get('difference')))
    cells.append(line)
  header = [*_HEADER, *(['paired difference'] if len(rows) > 1 else [])]
  text = markdown_table(header, cells)
  if any(len(row['seeds']) < MIN_SEEDS for row in rows):
    text += f'\n\nAn interval needs at least {MIN_SEEDS} seeds.'
  return text


def _percent(value: float | None) -> str:
  return '' if value is None else f'{value:.1%}'


def _interval(bounds: list[float] | None, form: str) -> str:
  return '' if bounds is None else f'{bounds[0]:{form}} to {bounds[1]:{form}}'


def _difference(found: dict[str, Any] | None) -> str:
  if found is None:
    return ''
  interval = _interval(found['ci95'], '+.1%')
  return f'{found["mean"]:+.1%}' + (f' ({interval})' if interval else '')


def _check_same_data(first: list[Run], folds: list[Run]) -> None:
  """Checks that a row was evaluated on the same tracks as the first row."""
  for run, other in zip(folds, first, strict=True):
    for name in ('split', 'protocol', 'num_tracks'):
      found = run.finished_result().get(name)
      wanted = other.finished_result().get(name)
      if found != wanted:
        raise DataError(
          f'{run.workdir}: its {name} is {found}, but that of {other.workdir} '
          f'is {wanted}; only rows with the same tracks can be compared'
        )
