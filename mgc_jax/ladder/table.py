"""The rows of the ladder: networks and protocols, each over several seeds."""

from typing import Any

import numpy as np

from mgc_jax import predictions, report
from mgc_jax.ladder.plan import PROTOCOLS
from mgc_jax.sweep.plan import Run


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
    `ci95`, the percentile bootstrap's interval of the mean over tracks, where
    a track's accuracy is the share of the seeds that answer it right.
  """
  results = [run.result() for run in runs]
  right: dict[str, list[float]] = {}
  for run in runs:
    answers = predictions.read(run.workdir)
    hits = answers.track_probabilities().argmax(1) == answers.track_label()
    for track, hit in zip(answers.tracks(), hits, strict=True):
      right.setdefault(track, []).append(float(hit))
  shares = np.array([np.mean(hits) for hits in right.values()])
  rng = np.random.default_rng(0)
  drawn = rng.choice(shares, (num_bootstrap, len(shares))).mean(axis=1)
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
  row['track_accuracy']['ci95'] = np.percentile(drawn, [2.5, 97.5]).tolist()
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
  return report.markdown_table(' | '.join(header).split(' | '), lines)


def _accuracy(found: dict[str, Any]) -> str:
  std = '' if found['std'] is None else f' ± {100 * found["std"]:.1f}'
  return f'{found["mean"]:.1%}{std}'
