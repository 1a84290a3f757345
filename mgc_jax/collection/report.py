"""Shows what is in a collection: a table, a picture, a playlist."""

import collections
import dataclasses
import heapq
import itertools
import pathlib
from collections.abc import Iterator

from mgc_jax.collection.entry import Answered, Entry
from mgc_jax.collection.index import Index
from mgc_jax.evaluation.metrics import UNCERTAIN_UNDER
from mgc_jax.system import figure_file
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.printable_text import printable
from mgc_jax.system.tables import table

_NUM_FAILURES = 10  # named


@dataclasses.dataclass
class GenreSum:
  """What the index has of a genre."""

  num_tracks: int = 0
  num_uncertain: int = 0
  hours: float = 0.0


@dataclasses.dataclass(frozen=True)
class Summary:
  """What the index has."""

  genres: dict[str, GenreSum]  # most tracks first
  least_certain: list[Answered]
  num_failures: int
  failures: list[Entry]  # the first of them


def summarise(index: Index, num_least_certain: int) -> Summary:
  """Summarises a collection, in memory that does not grow with it.

  Args:
    index: has the tracks.
    num_least_certain: how many of the least certain tracks are named, 0 or
      more.
  """
  sums: dict[str, GenreSum] = collections.defaultdict(GenreSum)

  def added() -> Iterator[Answered]:
    """Yields the index's entries, each added to its genre's sums."""
    for entry in index.entries():
      its = sums[entry.genre]
      its.num_tracks += 1
      its.num_uncertain += entry.probability < UNCERTAIN_UNDER
      its.hours += entry.duration_s / 3600
      yield entry

  entries = added()
  least = heapq.nsmallest(
    num_least_certain, entries, key=lambda entry: entry.probability
  )
  for _ in entries:  # nsmallest(0) does not look at any entry
    pass
  ordered = sorted(sums, key=lambda genre: (-sums[genre].num_tracks, genre))
  return Summary(
    {genre: sums[genre] for genre in ordered},
    least,
    sum(1 for _ in index.failures()),
    list(itertools.islice(index.failures(), _NUM_FAILURES)),
  )


def text_of(summary: Summary) -> str:
  """Returns a summary as text for people."""
  rows = [_row(genre, its) for genre, its in summary.genres.items()]
  every = list(summary.genres.values())
  whole = GenreSum(
    sum(its.num_tracks for its in every),
    sum(its.num_uncertain for its in every),
    sum(its.hours for its in every),
  )
  header = ['genre', 'tracks', 'hours', f'under {UNCERTAIN_UNDER:.0%}']
  lines = table(header, [*rows, _row('all', whole)])
  if summary.least_certain:
    lines.append('Least certain:')
  for entry in summary.least_certain:
    lines.append(
      f'  {entry.probability:.0%} {entry.genre}  {printable(entry.path)}'
    )
  if summary.num_failures:
    lines.append(f'Not answered: {summary.num_failures}')
  for entry in summary.failures:
    lines.append(f'  {printable(entry.path)}: {printable(entry.failure)}')
  return '\n'.join(lines)


def _row(genre: str, its: GenreSum) -> list:
  return [genre, its.num_tracks, f'{its.hours:.2f}', its.num_uncertain]


def plot(summary: Summary, path: pathlib.Path) -> None:
  """Draws tracks by genre, and how many of them are uncertain.

  Raises:
    OSError: it cannot be written.
  """
  from matplotlib.figure import Figure  # half a second; the table needs none

  genres = list(summary.genres)[::-1]
  its = [summary.genres[genre] for genre in genres]
  uncertain = [one.num_uncertain for one in its]
  certain = [one.num_tracks - one.num_uncertain for one in its]
  figure = Figure(figsize=(8, 1.2 + 0.4 * len(genres)))
  axis = figure.subplots()
  axis.barh(genres, certain, label=f'{UNCERTAIN_UNDER:.0%} and more')
  bars = axis.barh(
    genres, uncertain, left=certain, color='lightgray', label='uncertain'
  )
  axis.bar_label(bars, [f'{one.hours:.1f} h' for one in its], padding=4)
  axis.set(xlabel='tracks')
  axis.margins(x=0.1)
  axis.legend()
  figure_file.save(figure, path)


def playlist(
  index: Index, genre: str, min_probability: float
) -> Iterator[bytes | Entry]:
  r"""Yields the lines of an M3U8 playlist, the most probable tracks first.

  Paths are those of the disk, byte for byte. A track whose path has a line
  break cannot be in a playlist, and its entry is yielded instead.

  Args:
    index: has the tracks.
    genre: one of the model's genres.
    min_probability: less probable tracks are left out.

  Raises:
    ConfigError: the model does not know the genre.
  """
  known = index.model()
  genres = known[2] if known else ()
  if genre not in genres:
    raise ConfigError(f'{genre}: no genre of this index: {", ".join(genres)}')
  wanted = [
    entry
    for entry in index.entries(genre)
    if entry.probability >= min_probability
  ]
  yield b'#EXTM3U\n'
  for entry in sorted(wanted, key=lambda entry: -entry.probability):
    if '\n' in entry.path or '\r' in entry.path:
      yield entry
      continue
    name = pathlib.PurePath(entry.path).stem
    title = ' - '.join(filter(None, [entry.artist, entry.title])) or name
    info = f'#EXTINF:{round(entry.duration_s)},{printable(title)}\n'
    line = f'{entry.path}\n'
    yield info.encode() + line.encode('utf-8', 'surrogateescape')
