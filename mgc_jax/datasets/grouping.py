"""Forms groups of rows and assigns them to parts, stratified by genre."""

from collections.abc import Sequence

import numpy as np


def merged_groups(keys: Sequence[np.ndarray]) -> np.ndarray:
  """Groups rows that share a value of any key, directly or through others.

  Args:
    keys: arrays str[n]; an empty value equals no other.

  Returns:
    i64[n], group numbers from 0 in order of first occurrence.
  """
  from scipy.sparse import coo_array
  from scipy.sparse.csgraph import connected_components

  num_rows = len(keys[0])
  edges = []  # from each row to the first row with the same value
  for key in keys:
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    known = np.flatnonzero(key != '')
    edges.append(np.stack([known, first[number[known]]]))
  rows, firsts = np.concatenate(edges, axis=1)
  graph = coo_array(
    (np.ones(len(rows)), (rows, firsts)), shape=(num_rows, num_rows)
  )
  component = connected_components(graph, directed=False)[1]
  # SciPy does not document the order of its component numbers.
  _, first, number = np.unique(
    component, return_index=True, return_inverse=True
  )
  return np.argsort(np.argsort(first))[number]


def assign_groups(
  counts: np.ndarray, fractions: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
  """Assigns groups to parts, so that each genre has the given fractions.

  Greedy: assigns the largest groups first, each to the part where it brings the
  counts of the genres closest to their targets (like scikit-learn's
  StratifiedGroupKFold).

  Args:
    counts: i64[G, C], the number of tracks by group and genre.
    fractions: the fraction of the tracks for each part; they sum to 1.
    rng: breaks ties between groups of the same size.

  Returns:
    i64[G], the part of each group.
  """
  targets = _targets(counts, np.asarray(fractions))
  totals = np.maximum(counts.sum(axis=0), 1)
  filled = np.zeros_like(targets)
  part = np.zeros(len(counts), int)
  shuffled = rng.permutation(len(counts))
  sizes = counts[shuffled].sum(axis=1)
  for group in shuffled[np.argsort(-sizes, kind='stable')]:
    count = counts[group]
    excess = filled - targets
    # The change in the sum of squares by adding the group, per genre ...
    cost = ((count * (2 * excess + count)) / totals**2).sum(axis=1)
    # ... and over all genres, to break ties.
    size, total = count.sum(), totals.sum()
    cost += size * (2 * excess.sum(axis=1) + size) / total**2
    cost[np.asarray(fractions) == 0] = np.inf
    part[group] = np.argmin(cost)
    filled[part[group]] += count
  return part


def _targets(counts: np.ndarray, fractions: np.ndarray) -> np.ndarray:
  """Returns f64[parts, C], targets of at least one group where possible."""
  targets = np.outer(fractions, counts.sum(axis=0))
  enough = (counts > 0).sum(axis=0) >= (fractions > 0).sum()
  smallest = np.where(counts > 0, counts, np.inf).min(axis=0)  # of a genre
  too_small = (targets < smallest) & (fractions > 0)[:, None] & enough
  largest = np.argmax(fractions)
  too_small[largest] = False
  raised = np.where(too_small, smallest, targets)
  raised[largest] -= (raised - targets).sum(axis=0)
  return raised
