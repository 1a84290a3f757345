"""Reports tracks per genre and split, hours of audio, and skipped tracks."""

import collections

import numpy as np

from mgc_jax.config.rules import SPLITS
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.records import Prepared
from mgc_jax.datasets.splits import Splits
from mgc_jax.system.tables import table


def genre_counts(index: ExcerptIndex, splits: Splits) -> dict[str, np.ndarray]:
  """Returns i64[C], the number of tracks of each genre, for each split.

  Under the window protocol a track counts in every split that has windows of
  it.

  Args:
    index: describes the excerpts.
    splits: the split of each excerpt in the index.
  """
  counts = {}
  for split, examples in splits.examples.items():
    _, first = np.unique(index.track_id[examples.rows], return_index=True)
    label = index.label[examples.rows[first]]
    counts[split] = np.bincount(label, minlength=len(index.genres))
  return counts


def preparation_report(prepared: Prepared, splits: Splits) -> str:
  """Returns the table of genres and splits, hours, and skipped tracks.

  Args:
    prepared: the records of a source.
    splits: the split of each excerpt in the records.
  """
  index, counts = prepared.index, genre_counts(prepared.index, splits)
  hours = np.zeros(len(index.genres))
  np.add.at(hours, index.label, index.duration_s / 3600)
  rows = [
    [genre, *(counts[split][i] for split in SPLITS), f'{hours[i]:.2f}']
    for i, genre in enumerate(index.genres)
  ]
  totals = [counts[split].sum() for split in SPLITS]
  rows.append(['all', *totals, f'{hours.sum():.2f}'])
  lines = [
    f'Records: {index.directory}',
    f'Protocol: {splits.protocol}. Tracks per genre and split:',
    *table(['genre', *SPLITS, 'hours'], rows),
  ]
  reasons = collections.Counter(
    row['reason'].partition(':')[0] for row in prepared.skipped
  )
  summary = ', '.join(f'{n} {why}' for why, n in reasons.most_common())
  summary = f' ({summary})' if summary else ''
  lines.append(f'Skipped: {len(prepared.skipped)} tracks{summary}')
  lines += [f'  {row["path"]}: {row["reason"]}' for row in prepared.skipped]
  if prepared.damaged:
    lines.append(f'Damaged and used in part: {len(prepared.damaged)} tracks')
  return '\n'.join(lines)
