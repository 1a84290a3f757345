"""Compares exact search for similar songs with an approximate index (usearch).

Uses random vectors in clusters, similar to embeddings of songs. Each query is a
separate command, so it is timed with reading the stored data: exact search
reads the index, usearch its graph, which must be built once.

  python -m benchmarks.neighbours
"""

import functools
import pathlib
import tempfile
import time

import numpy as np

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from mgc_jax.collection import neighbours
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index

_NUM_NEIGHBOURS = 10
_NUM_CLUSTERS = 200
_SIZE = 224  # of the LSTM's embeddings; CNN and CRNN have 56
_CHUNK = 10_000


def fill(path: pathlib.Path, num_tracks: int, size: int) -> np.ndarray:
  """Creates an index of vectors; returns f32[5, size] queries."""
  rng = np.random.default_rng(0)
  centres = rng.normal(size=(_NUM_CLUSTERS, size)).astype(np.float32)

  def vectors(number: int) -> np.ndarray:
    noise = rng.normal(size=(number, size)).astype(np.float32)
    return centres[rng.integers(_NUM_CLUSTERS, size=number)] + 0.7 * noise

  with Index(path, create=True) as index:
    for start in range(0, num_tracks, _CHUNK):
      rows = vectors(min(_CHUNK, num_tracks - start))
      for i, row in enumerate(rows, start):
        entry = Entry(f'/m/{i}.mp3', '/m', 9, 9, '', '', '', 30.0, 'jazz', 0.9)
        index.put(entry, np.ones(10), row)
  return vectors(5)


def compare(num_tracks: int, size: int, rounds: int) -> dict:
  """Measures both methods for a collection of a given size.

  Returns:
    `seconds` per query by method, `build_s` of the graph, `bytes` by file,
    `recall` of the approximate search, `ratio` of exact to approximate.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'index'
    queries = fill(path, num_tracks, size)
    start_s = time.perf_counter()
    with Index(path) as index:
      neighbours.kept_graph(index)
    build_s = time.perf_counter() - start_s
    ids: dict[str, list] = {}

    def query(method: str) -> float:
      start_s = time.perf_counter()
      with Index(path) as index:
        search = getattr(neighbours, method)
        ids[method] = [ids_of(search(index, queries[0]))]
        seconds = time.perf_counter() - start_s
        ids[method] += [ids_of(search(index, q)) for q in queries[1:]]
      return seconds

    methods = ('exact', 'approximate')
    found = in_turn({m: functools.partial(query, m) for m in methods}, rounds)
    pairs = zip(ids['exact'], ids['approximate'], strict=True)
    shared = [len(set(a) & set(b)) / _NUM_NEIGHBOURS for a, b in pairs]
    return {
      'seconds': {method: spread(x) for method, x in found.items()},
      'ratio': ratio(found['exact'], found['approximate']),
      'recall': float(np.mean(shared)),
      'build_s': build_s,
      'bytes': {
        x.name: x.stat().st_size for x in pathlib.Path(folder).iterdir()
      },
    }


def ids_of(found: list[tuple[int, float]]) -> list[int]:
  """Returns the ids in the result of a search."""
  return [key for key, _ in found]


def main() -> None:
  """Prints a line for each collection size."""
  flags = parser(__doc__)
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument(
    '--sizes',
    default='10000,100000,300000',
    help='numbers of tracks, comma-separated',
  )
  args = flags.parse_args()
  sizes = [300] if args.toy else [int(x) for x in args.sizes.split(',')]
  results = {}
  for num_tracks in sizes:
    found = compare(num_tracks, 16 if args.toy else _SIZE, args.rounds)
    results[num_tracks] = found
    seconds = {name: x['median'] for name, x in found['seconds'].items()}
    print(
      f'{num_tracks} tracks: exact {seconds["exact"]:.2f} s, '
      f"{format_ratio(found['ratio'])} usearch's {seconds['approximate']:.2f} "
      f's, which finds {found["recall"]:.0%} of the nearest and is built in '
      f'{found["build_s"]:.0f} s',
      flush=True,
    )
  write_results({'sizes': results}, args.json)


if __name__ == '__main__':
  main()
