"""Finds the tracks whose embeddings are nearest, by cosine.

Exact up to EXACT_UP_TO tracks: reading them from the index takes longer than
comparing them. Above, an approximate index (usearch, HNSW: Malkov and Yashunin
2016) is kept in a file beside the index and brought up to date with it.
"""

import hashlib
import importlib.util
import json
import logging
import pathlib
import sys
from typing import TYPE_CHECKING

import numpy as np

from mgc_jax.collection.index import Index
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError

if TYPE_CHECKING:
  from usearch.index import Index as Graph

_logger = logging.getLogger(__name__)

EXACT_UP_TO = 100_000  # tracks; docs/PERFORMANCE.md
_ADDED_ALONE = 1000  # tracks


def ranked(
  index: Index, query: np.ndarray, at_most: int
) -> list[tuple[int, float]]:
  """Returns ids and cosines, the nearest first.

  Args:
    index: has the tracks.
    query: f32[D], an embedding.
    at_most: the maximum number of tracks.

  Raises:
    DataError: the index has embeddings of another size.
  """
  if index.num_answered() > EXACT_UP_TO and has_usearch():
    return approximate(index, query, at_most)
  return exact(index, query, at_most)


def exact(
  index: Index, query: np.ndarray, at_most: int = 10
) -> list[tuple[int, float]]:
  """Does what `ranked` does by comparing with every track."""
  ids, vectors = index.embeddings()
  _check_size(index, vectors.shape[1], query)
  similarities = cosines(vectors, query)
  return [
    (int(ids[i]), float(similarities[i]))
    for i in nearest_rows(similarities, at_most)
  ]


def approximate(
  index: Index, query: np.ndarray, at_most: int = 10
) -> list[tuple[int, float]]:
  """Does what `ranked` does by searching the graph."""
  graph = kept_graph(index)
  _check_size(index, graph.ndim, query)
  found = graph.search(query.astype(np.float32), at_most)
  similarities = 1 - found.distances
  return list(zip(found.keys.tolist(), similarities.tolist(), strict=True))


def has_usearch() -> bool:
  """Returns whether usearch is installed; if not, recommends it."""
  if importlib.util.find_spec('usearch'):
    return True
  _logger.info(
    'over %d tracks this is faster with usearch: pip install usearch',
    EXACT_UP_TO,
  )
  return False


def _check_size(index: Index, size: int, query: np.ndarray) -> None:
  if size != len(query):
    raise DataError(
      f'{index.path}: embeddings of {size} numbers, the model makes '
      f'{len(query)}; index the folders anew'
    )


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
  """Returns f32[n] cosines with a query; 0 for a vector of zeros.

  Args:
    vectors: f32[n, D].
    query: f32[D].
  """
  norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
  return vectors @ query / np.maximum(norms, np.finfo(np.float32).tiny)


def nearest_rows(similarities: np.ndarray, at_most: int) -> np.ndarray:
  """Returns i64[k], the rows of the largest values, largest first.

  Args:
    similarities: f32[n].
    at_most: the maximum of k.
  """
  if at_most < len(similarities):
    rows = np.argpartition(-similarities, at_most)[:at_most]
  else:
    rows = np.arange(len(similarities))
  return rows[np.argsort(-similarities[rows], kind='stable')]


def mean_direction(vectors: np.ndarray) -> np.ndarray:
  """Returns f32[D], the mean of some tracks with equal weights.

  Args:
    vectors: f32[n, D].
  """
  norms = np.linalg.norm(vectors, axis=1, keepdims=True)
  return (vectors / np.maximum(norms, np.finfo(np.float32).tiny)).mean(axis=0)


def kept_graph(index: Index) -> 'Graph':
  """Returns the approximate index, brought up to date.

  Args:
    index: has at least one track.
  """
  from usearch.index import Index as Graph

  path = index.path.with_name(f'{index.path.name}.usearch')
  graph = _read(path, index.token())
  ids = index.answered_ids()
  known = np.zeros(0, np.int64)
  if graph is not None:
    known = np.asarray(graph.keys[:]).astype(np.int64)
  gone = np.setdiff1d(known, ids, assume_unique=True)
  if graph is None or len(gone) > len(ids):
    graph, known, gone = None, known[:0], gone[:0]
  new = np.setdiff1d(ids, known, assume_unique=True)
  if len(new):
    added, vectors = index.embeddings(after=int(new.min()) - 1)
    rows = np.isin(added, new, assume_unique=True)
    if graph is None:
      graph = Graph(ndim=vectors.shape[1], metric='cos', dtype='f16')
    _add(graph, added[rows], vectors[rows])
  assert graph is not None  # every track of the index was known, or is new
  if len(gone):
    graph.remove(gone)
  if len(new) or len(gone):
    _write(graph, path, index.token())
  return graph


def _add(graph: 'Graph', keys: np.ndarray, vectors: np.ndarray) -> None:
  """Adds tracks; the first ones of a graph in a single thread.

  Several threads that start a graph together leave tracks without neighbours,
  which no search reaches.
  """
  log = 'for next time' if sys.stderr.isatty() else False
  num_first = max(0, _ADDED_ALONE - len(graph))
  graph.add(keys[:num_first], vectors[:num_first], threads=1)
  if num_first < len(keys):
    graph.add(keys[num_first:], vectors[num_first:], log=log)


def _read(path: pathlib.Path, token: str) -> 'Graph | None':
  """Returns the graph that `_write` kept; None if it is not of this index."""
  from usearch.index import Index as Graph

  note = path.with_name(f'{path.name}.json')
  try:
    if json.loads(note.read_text()) != {
      'index': token,
      'sha256': _sha256(path),
    }:
      raise ValueError('of another index, or damaged')
    return Graph.restore(str(path))
  except FileNotFoundError:
    return None
  except (OSError, RuntimeError, ValueError) as error:
    _logger.info('%s: %s; made anew', path, error)
    return None


def _sha256(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _write(graph: 'Graph', path: pathlib.Path, token: str) -> None:
  """Keeps the graph; if that fails, it is built again next time."""
  note = {'index': token}
  try:
    with atomic_file.writing(path) as partial:
      graph.save(str(partial))
      note['sha256'] = _sha256(partial)
    with atomic_file.writing(path.with_name(f'{path.name}.json')) as partial:
      partial.write_text(json.dumps(note))
  except (OSError, RuntimeError) as error:
    _logger.info('%s: %s; not kept', path, error)
