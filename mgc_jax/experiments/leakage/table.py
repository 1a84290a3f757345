"""The rows of the ladder: networks and protocols, each over several seeds."""

from typing import Any

import numpy as np

from mgc_jax.evaluation import predictions
from mgc_jax.experiments.leakage.plan import PROTOCOLS
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.system.tables import markdown_table


def summarise(
  network: str, protocol: str, runs: list[Run], num_bootstrap: int = 2000
) -> dict[str, Any]:
  """Returns a row of the ladder.

  Args:
    network: of `NETWORKS`.
    protocol: of `PROTOCOLS`.
    runs: finished, one per seed.
    num_bootstrap: resamplings of the tracks.

  Returns:
    `network`, `protocol`, `num_params`, `num_tracks`, and of `window_accuracy`
    and `track_accuracy` the `mean` and `std` over seeds; of the latter also
    `ci95`, the percentile bootstrap's interval: tracks are drawn, each with the
    answers of all seeds that tested it.
  """
  results = [run.finished_result() for run in runs]
  hits: dict[str, list[float]] = {}
  for run in runs:
    answers = predictions.read(run.workdir)
    right = answers.track_probabilities().argmax(1) == answers.track_label()
    for track, hit in zip(answers.tracks(), right, strict=True):
      hits.setdefault(track, []).append(float(hit))
  # Of random splits a track is tested by some of the seeds only.
  sums, counts = (np.array([f(x) for x in hits.values()]) for f in (sum, len))
  rng = np.random.default_rng(0)
  drawn = rng.integers(0, len(sums), (num_bootstrap, len(sums)))
  means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
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
  row['track_accuracy']['ci95'] = np.percentile(means, [2.5, 97.5]).tolist()
  return row


def markdown(rows: list[dict[str, Any]]) -> str:
  """Returns the ladder as a Markdown table, a line per network.

  Args:
    rows: of `summarise`.
  """
  header = ['network', 'parameters']
  header += [f'{p}: windows | {p}: tracks' for p in PROTOCOLS]
  lines = []
  for network in dict.fromkeys(row['network'] for row in rows):
    mine = [row for row in rows if row['network'] == network]
    cells = [network, f'{mine[0]["num_params"]:,}']
    for row in mine:
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
