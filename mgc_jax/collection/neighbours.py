"""Finds the tracks whose embeddings are nearest by cosine similarity.

Up to EXACT_UP_TO tracks the search is exact: reading the embeddings takes
longer than comparing them. Above that, an approximate index (usearch, HNSW:
Malkov and Yashunin 2016), here called the graph, is stored beside the index.
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

EXACT_UP_TO = 100_000  # tracks; see docs/PERFORMANCE.md
NUM_ADDED_SERIALLY = 1000  # tracks; see _add


def nearest(
  index: Index, query: np.ndarray, at_most: int
) -> list[tuple[int, float]]:
  """Returns ids and cosine similarities, the nearest first.

  Args:
    index: the index to search.
    query: f32[D], an embedding.
    at_most: the maximum number of tracks.

  Raises:
    DataError: the embeddings in the index have another size.
  """
  if index.num_classified() > EXACT_UP_TO and has_usearch():
    return approximate(index, query, at_most)
  return exact(index, query, at_most)


def exact(
  index: Index, query: np.ndarray, at_most: int = 10
) -> list[tuple[int, float]]:
  """Does what `nearest` does by comparing with every track."""
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
  """Does what `nearest` does by searching the graph."""
  graph = kept_graph(index)
  _check_size(index, graph.ndim, query)
  found = graph.search(query.astype(np.float32), at_most)
  similarities = 1 - found.distances
  return list(zip(found.keys.tolist(), similarities.tolist(), strict=True))


def has_usearch() -> bool:
  """Returns whether usearch is installed; otherwise logs how to install it."""
  if importlib.util.find_spec('usearch'):
    return True
  _logger.info(
    'with more than %d tracks, usearch is faster: pip install usearch',
    EXACT_UP_TO,
  )
  return False


def _check_size(index: Index, size: int, query: np.ndarray) -> None:
  if size != len(query):
    raise DataError(
      f'{index.path}: has embeddings of {size} numbers, but the model computes '
      f'{len(query)}; index the folders again'
    )


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
  """Returns f32[n], the cosines with a query; 0 for a zero vector.

  Args:
    vectors: f32[n, D].
    query: f32[D].
  """
  norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
  return vectors @ query / np.maximum(norms, np.finfo(np.float32).tiny)


def nearest_rows(similarities: np.ndarray, at_most: int) -> np.ndarray:
  """Returns i64[k], the indices of the largest values, largest first.

  Args:
    similarities: f32[n].
    at_most: the maximum k.
  """
  if at_most < len(similarities):
    rows = np.argpartition(-similarities, at_most)[:at_most]
  else:
    rows = np.arange(len(similarities))
  return rows[np.argsort(-similarities[rows], kind='stable')]


def mean_direction(vectors: np.ndarray) -> np.ndarray:
  """Returns f32[D], the mean of the vectors scaled to unit length.

  Args:
    vectors: f32[n, D].
  """
  norms = np.linalg.norm(vectors, axis=1, keepdims=True)
  return (vectors / np.maximum(norms, np.finfo(np.float32).tiny)).mean(axis=0)


def kept_graph(index: Index) -> 'Graph':
  """Returns the stored graph after adding new tracks and removing deleted ones.

  Args:
    index: an index with at least one track.
  """
  from usearch.index import Index as Graph

  path = index.path.with_name(f'{index.path.name}.usearch')
  graph = _read(path, index.token())
  ids = index.classified_ids()
  known = np.zeros(0, np.int64)
  if graph is not None:
    known = np.asarray(graph.keys[:]).astype(np.int64)
  deleted = np.setdiff1d(known, ids, assume_unique=True)
  if graph is None or len(deleted) > len(ids):
    graph, known, deleted = None, known[:0], deleted[:0]
  new = np.setdiff1d(ids, known, assume_unique=True)
  if len(new):
    added, vectors = index.embeddings(after=int(new.min()) - 1)
    rows = np.isin(added, new, assume_unique=True)
    if graph is None:
      graph = Graph(ndim=vectors.shape[1], metric='cos', dtype='f16')
    _add(graph, added[rows], vectors[rows])
  assert graph is not None  # each track is either known or new
  if len(deleted):
    graph.remove(deleted)
  if len(new) or len(deleted):
    _write(graph, path, index.token())
  return graph


def _add(graph: 'Graph', keys: np.ndarray, vectors: np.ndarray) -> None:
  """Adds tracks to the graph, the first NUM_ADDED_SERIALLY in one thread.

  If several threads start an empty graph, some tracks get no neighbours and no
  search reaches them.
  """
  log = 'building the search graph' if sys.stderr.isatty() else False
  num_first = max(0, NUM_ADDED_SERIALLY - len(graph))
  graph.add(keys[:num_first], vectors[:num_first], threads=1)
  if num_first < len(keys):
    graph.add(keys[num_first:], vectors[num_first:], log=log)


def _read(path: pathlib.Path, token: str) -> 'Graph | None':
  """Returns the graph that `_write` stored; None if it cannot be used."""
  from usearch.index import Index as Graph

  metadata = path.with_name(f'{path.name}.json')
  try:
    if json.loads(metadata.read_text()) != {
      'index': token,
      'sha256': _sha256(path),
    }:
      raise ValueError('belongs to another index or is damaged')
    return Graph.restore(str(path))
  except FileNotFoundError:
    return None
  except (OSError, RuntimeError, ValueError) as error:
    _logger.info('%s: %s; building it again', path, error)
    return None


def _sha256(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _write(graph: 'Graph', path: pathlib.Path, token: str) -> None:
  """Stores the graph; if that fails, it is built again next time."""
  metadata = {'index': token}
  try:
    with atomic_file.writing(path) as partial:
      graph.save(str(partial))
      metadata['sha256'] = _sha256(partial)
    with atomic_file.writing(path.with_name(f'{path.name}.json')) as partial:
      partial.write_text(json.dumps(metadata))
  except (OSError, RuntimeError) as error:
    _logger.info('%s: %s; not stored', path, error)
