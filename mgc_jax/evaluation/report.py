"""Writes results as JSON, and formats them as text tables."""

import json
import pathlib
import platform
from importlib import metadata
from typing import Any

from mgc_jax.system import atomic_file
from mgc_jax.system.tables import table

RESULTS_FILE = 'results.json'
_PACKAGES = ('mgc_jax', 'jax', 'flax', 'optax', 'numpy')


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the packages that affect results."""
  found = {'python': platform.python_version()}
  for name in _PACKAGES:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:  # run from a checkout
      found[name] = 'not installed'
  return found


def write_json(path: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes a JSON file atomically."""
  with atomic_file.writing(path) as partial:
    partial.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def result_table(results: dict[str, Any]) -> str:
  """Returns a readable summary of `results.json`."""
  return '\n'.join(
    [
      f'Protocol {results["protocol"]}, split {results["split"]}: '
      f'{results["num_tracks"]} tracks, {results["num_windows"]} windows',
      f'track accuracy   {accuracy_text(results)}',
      *artists_line(results),
      f'window accuracy  {results["window_accuracy"]:.1%}',
      f'top-3 tracks     {results["top3_track_accuracy"]:.1%}',
      f'macro F1         {results["macro_f1"]:.3f}',
      f'parameters       {results["num_params"]:,}',
      *genre_table(results['per_genre']),
      *source_table(results['per_source']),
      *calibration_table(results['calibration']),
    ]
  )


def accuracy_text(found: dict[str, Any]) -> str:
  """Formats a track accuracy with its intervals.

  Args:
    found: has `track_accuracy`, `track_accuracy_ci95`, and
      `track_accuracy_ci95_artists`, which may be None.
  """
  low, high = found['track_accuracy_ci95']
  text = f'95 % interval over tracks {low:.1%} to {high:.1%}'
  if found['track_accuracy_ci95_artists']:
    low, high = found['track_accuracy_ci95_artists']
    text += f', over artists {low:.1%} to {high:.1%}'
  return f'{found["track_accuracy"]:.1%} ({text})'


def artists_line(found: dict[str, Any]) -> list[str]:
  """Returns a line with the number of tracks without a known artist, if any.

  Args:
    found: has `num_tracks` and `num_tracks_without_artist`.
  """
  number = found['num_tracks_without_artist']
  if not number:
    return []
  tracks = f'{number} of {found["num_tracks"]} tracks'
  return [f'artist unknown   {tracks}; each counts as a separate artist']


def genre_table(per_genre: dict[str, dict[str, Any]]) -> list[str]:
  """Returns a table with precision, recall, F1 and tracks of each genre."""
  rows = [
    [
      genre,
      *(f'{row[name]:.2f}' for name in ('precision', 'recall', 'f1')),
      row['support'],
    ]
    for genre, row in per_genre.items()
  ]
  return table(['genre', 'precision', 'recall', 'F1', 'tracks'], rows)


def source_table(per_source: dict[str, dict[str, Any]]) -> list[str]:
  """Returns a table with each source's accuracy; no lines for one source."""
  if len(per_source) < 2:
    return []
  rows = [
    [
      source,
      f'{row["track_accuracy"]:.1%}',
      '{:.1%} to {:.1%}'.format(*row['track_accuracy_ci95']),
      row['num_tracks'],
    ]
    for source, row in per_source.items()
  ]
  return table(['source', 'accuracy', '95 % interval', 'tracks'], rows)


def calibration_table(found: dict[str, Any]) -> list[str]:
  """Returns a table of the scores of `calibration.calibration`."""
  names = {
    'expected calibration error': 'expected_calibration_error',
    'negative log-likelihood': 'negative_log_likelihood',
  }
  rows = [
    [title, *(f'{found[when][name]:.3f}' for when in ('before', 'after'))]
    for title, name in names.items()
  ]
  title = f'at temperature {found["temperature"]:.2f}'
  return table([title, 'before', 'after'], rows)
