"""The table of a sweep: rows of settings, each over several seeds."""

import json
import pathlib
from typing import Any

from mgc_jax import report
from mgc_jax.errors import DataError
from mgc_jax.metrics import mean_ci95
from mgc_jax.pool import pool
from mgc_jax.sweep.plan import FOLD, Run

JSON_FILE, TABLE_FILE = 'sweep.json', 'sweep.md'
_HEADER = ['settings', 'seeds', 'tracks', 'mean', 'std', '95 % interval']


def write(runs: list[Run], workdir: pathlib.Path) -> str:
  """Writes `sweep.json` and `sweep.md`, and returns the table.

  Args:
    runs: of the sweep, all finished; rows keep their order.
    workdir: of the sweep.

  Returns:
    Lines of a Markdown table of track accuracies. Its intervals are over seeds:
    how far training's randomness moves the score on these very tracks.
  """
  rows = compare(scores(runs))
  text = '\n'.join(_markdown(rows)) + '\n'
  report.write_json(workdir / JSON_FILE, {'rows': rows})
  partial = workdir / f'{TABLE_FILE}.partial'
  partial.write_text(text, encoding='utf-8')
  partial.replace(workdir / TABLE_FILE)
  return text


def scores(runs: list[Run]) -> dict[str, dict[int, dict[str, Any]]]:
  """Returns `track_accuracy` and `num_tracks` of each row and seed.

  Args:
    runs: all finished; those of one row and seed are folds, and pooled.

  Raises:
    ConfigError: they are not all folds of one cross-validation.
    DataError: a result cannot be read.
  """
  parts: dict[tuple[str, int], list[Run]] = {}
  for run in runs:
    parts.setdefault((run.row, run.seed), []).append(run)
  found: dict[str, dict[int, dict[str, Any]]] = {}
  for (row, seed), folds in parts.items():
    if any(arg.startswith(f'--config.{FOLD}=') for arg in folds[0].overrides):
      result = pool([run.workdir for run in folds])
    else:
      result = _read(folds[0].workdir / report.RESULTS_FILE)
    found.setdefault(row, {})[seed] = {
      name: result[name] for name in ('track_accuracy', 'num_tracks')
    }
  return found


def compare(
  found: dict[str, dict[int, dict[str, Any]]],
) -> list[dict[str, Any]]:
  """Returns the rows with their statistics.

  Args:
    found: of `scores`; the first row is what the others are compared with.

  Returns:
    For each row `settings`, `seeds`, `num_tracks`, `track_accuracies`, the
    `mean`, `std` and `ci95` of those, and in all but the first row
    `difference`, the same of the differences to the first row, seed by seed.
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
        **mean_ci95(accuracies),
      }
    )
    if by_seed is not first:
      rows[-1]['difference'] = mean_ci95(
        [
          result['track_accuracy'] - first[seed]['track_accuracy']
          for seed, result in by_seed.items()
        ]
      )
  return rows


def _markdown(rows: list[dict[str, Any]]) -> list[str]:
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
  table = report.table(header, cells, ' | ')
  rule = '-|-'.join('-' * len(part) for part in table[0].split(' | '))
  return [f'| {line} |' for line in (table[0], rule, *table[1:])]


def _percent(value: float | None) -> str:
  return '' if value is None else f'{value:.1%}'


def _interval(bounds: list[float] | None, form: str) -> str:
  return '' if bounds is None else f'{bounds[0]:{form}} to {bounds[1]:{form}}'


def _difference(found: dict[str, Any] | None) -> str:
  if found is None:
    return ''
  interval = _interval(found['ci95'], '+.1%')
  return f'{found["mean"]:+.1%}' + (f' ({interval})' if interval else '')


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    return dict(json.loads(path.read_text(encoding='utf-8')))
  except (OSError, TypeError, ValueError) as error:
    raise DataError(f'{path}: {error}; run the sweep again') from error
