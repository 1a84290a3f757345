"""Describes a collection: as a table, or a bar chart."""

import collections
import dataclasses
import heapq
import itertools
import pathlib
from collections.abc import Iterator

from mgc_jax.collection.entry import ClassifiedEntry, Entry
from mgc_jax.collection.index import Index
from mgc_jax.evaluation.metrics import UNCERTAIN_UNDER
from mgc_jax.system import figure_file
from mgc_jax.system.printable_text import printable
from mgc_jax.system.tables import table

_MAX_FAILURES = 10  # listed in the report


@dataclasses.dataclass
class GenreSum:
  """Totals over the tracks of a genre."""

  num_tracks: int = 0
  num_uncertain: int = 0
  hours: float = 0.0


@dataclasses.dataclass(frozen=True)
class Summary:
  """Totals over the tracks of an index."""

  genres: dict[str, GenreSum]  # the largest first
  least_certain: list[ClassifiedEntry]
  num_failures: int
  failures: list[Entry]  # the first _MAX_FAILURES


def summarise(index: Index, num_least_certain: int) -> Summary:
  """Summarises a collection, using memory that does not grow with it.

  Args:
    index: the index of the collection.
    num_least_certain: how many of the least certain tracks to name.
  """
  sums: dict[str, GenreSum] = collections.defaultdict(GenreSum)

  def counted_entries() -> Iterator[ClassifiedEntry]:
    """Yields the index's entries after adding each to its genre's totals."""
    for entry in index.entries():
      total = sums[entry.genre]
      total.num_tracks += 1
      total.num_uncertain += entry.probability < UNCERTAIN_UNDER
      total.hours += entry.duration_s / 3600
      yield entry

  entries = counted_entries()
  least = heapq.nsmallest(
    num_least_certain, entries, key=lambda entry: entry.probability
  )
  for _ in entries:  # nsmallest(0) consumes no entries
    pass
  ordered = sorted(sums, key=lambda genre: (-sums[genre].num_tracks, genre))
  return Summary(
    {genre: sums[genre] for genre in ordered},
    least,
    sum(1 for _ in index.failures()),
    list(itertools.islice(index.failures(), _MAX_FAILURES)),
  )


def text_of(summary: Summary) -> str:
  """Formats a summary as text."""
  rows = [_row(genre, total) for genre, total in summary.genres.items()]
  totals = list(summary.genres.values())
  overall = GenreSum(
    sum(total.num_tracks for total in totals),
    sum(total.num_uncertain for total in totals),
    sum(total.hours for total in totals),
  )
  header = ['genre', 'tracks', 'hours', f'under {UNCERTAIN_UNDER:.0%}']
  lines = table(header, [*rows, _row('all', overall)])
  if summary.least_certain:
    lines.append('Least certain:')
  for entry in summary.least_certain:
    lines.append(
      f'  {entry.probability:.0%} {entry.genre}  {printable(entry.path)}'
    )
  if summary.num_failures:
    lines.append(f'Failed: {summary.num_failures}')
  for entry in summary.failures:
    lines.append(f'  {printable(entry.path)}: {printable(entry.failure)}')
  return '\n'.join(lines)


def _row(genre: str, total: GenreSum) -> list:
  return [genre, total.num_tracks, f'{total.hours:.2f}', total.num_uncertain]


def plot(summary: Summary, path: pathlib.Path) -> None:
  """Draws the number of tracks of each genre, and how many are uncertain.

  Raises:
    OSError: the file cannot be written.
  """
  from matplotlib.figure import Figure  # takes half a second

  genres = list(summary.genres)[::-1]
  totals = [summary.genres[genre] for genre in genres]
  uncertain = [total.num_uncertain for total in totals]
  certain = [total.num_tracks - total.num_uncertain for total in totals]
  figure = Figure(figsize=(8, 1.2 + 0.4 * len(genres)))
  axis = figure.subplots()
  axis.barh(genres, certain, label=f'{UNCERTAIN_UNDER:.0%} or more')
  bars = axis.barh(
    genres, uncertain, left=certain, color='lightgray', label='uncertain'
  )
  axis.bar_label(bars, [f'{total.hours:.1f} h' for total in totals], padding=4)
  axis.set(xlabel='tracks')
  axis.margins(x=0.1)
  axis.legend()
  figure_file.save(figure, path)
