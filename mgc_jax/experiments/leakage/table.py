"""Summarises the runs of the leakage study in a table."""

from typing import Any

import numpy as np

from mgc_jax.evaluation import metrics, predictions
from mgc_jax.experiments.leakage.plan import PROTOCOLS
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.system.tables import markdown_table


def summarise(
  network: str, protocol: str, runs: list[Run], num_bootstrap: int = 2000
) -> dict[str, Any]:
  """Summarises the runs of one network under one protocol.

  Args:
    network: one of `NETWORKS`.
    protocol: one of `PROTOCOLS`.
    runs: finished runs, one per seed.
    num_bootstrap: number of bootstrap samples.

  Returns:
    `network`, `protocol`, `seeds`, `num_params`, `num_tracks`, and for
    `window_accuracy` and `track_accuracy` the `mean` and `std` over seeds. The
    latter also has `ci95`, the bootstrap interval for which tracks are
    resampled, each with the predictions of all seeds that tested it.
  """
  results = [run.finished_result() for run in runs]
  found = [predictions.read(run.workdir) for run in runs]
  tracks = np.concatenate([seed.tracks() for seed in found])
  correct = np.concatenate(
    [
      seed.track_probabilities().argmax(axis=1) == seed.track_label()
      for seed in found
    ]
  )
  # With random splits, a track is tested by some of the seeds only.
  number = {track: i for i, track in enumerate(dict.fromkeys(tracks))}
  group = np.array([number[track] for track in tracks])
  ci95 = metrics.grouped_bootstrap_ci95(correct, group, num_bootstrap)
  row: dict[str, Any] = {
    'network': network,
    'protocol': protocol,
    'seeds': [run.seed for run in runs],
    'num_params': results[0]['num_params'],
    'num_tracks': [result['num_tracks'] for result in results],
  }
  for name in ('window_accuracy', 'track_accuracy'):
    values = [result[name] for result in results]
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    row[name] = {'mean': float(np.mean(values)), 'std': std}
  # A single track has no interval.
  row['track_accuracy']['ci95'] = ci95 or [float(correct.mean())] * 2
  return row


def markdown(rows: list[dict[str, Any]]) -> str:
  """Returns a Markdown table with a line per network.

  Args:
    rows: made by `summarise`.
  """
  header = ['network', 'parameters']
  header += [f'{p}: windows | {p}: tracks' for p in PROTOCOLS]
  lines = []
  for network in dict.fromkeys(row['network'] for row in rows):
    own = [row for row in rows if row['network'] == network]
    cells = [network, f'{own[0]["num_params"]:,}']
    for row in own:
      low, high = row['track_accuracy']['ci95']
      cells += [
        _accuracy(row['window_accuracy']),
        f'{_accuracy(row["track_accuracy"])} ({low:.1%} to {high:.1%})',
      ]
    lines.append(cells)
  return markdown_table(' | '.join(header).split(' | '), lines)


def _accuracy(found: dict[str, Any]) -> str:
  std = '' if found['std'] is None else f' ± {100 * found["std"]:.1f}'
  return f'{found["mean"]:.1%}{std}'
