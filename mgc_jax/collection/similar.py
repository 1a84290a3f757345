"""Finds the tracks that are most similar to given songs."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from mgc_jax.audio.names import known_artist
from mgc_jax.collection import neighbours
from mgc_jax.collection.entry import ClassifiedEntry
from mgc_jax.collection.index import Index
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

_NUM_EXTRA = 20  # candidates beyond those that are returned
_MIN_COPY_COSINE = 1 - 1e-5  # more similar tracks are copies of the song


@dataclasses.dataclass(frozen=True)
class Similar:
  """A track and how similar it is."""

  entry: ClassifiedEntry
  cosine: float  # between the mean embeddings


def find_similar(
  index: Index, paths: Sequence[str], k: int, diverse: bool
) -> list[Similar]:
  """Finds the tracks nearest to one song, or to the mean of several.

  Args:
    index: the index to search.
    paths: the songs. The model is run for those that are not in the index or
      have changed since.
    k: the number of tracks to return, fewer if the index has no more.
    diverse: whether to return at most one track of each known artist.

  Returns:
    The nearest tracks first, without the songs themselves and, for a single
    song, without its copies.

  Raises:
    ConfigError: no song is given, the index is empty, or another version of
      the model made it.
    DataError: a song cannot be read; the message names it.
  """
  if not paths:
    raise ConfigError('similar: specify one or more songs')
  if not index.num_classified():
    raise ConfigError(f'--index={index.path}: empty; index a folder first')
  vectors = _embeddings(index, paths)
  own = {os.path.realpath(path) for path in paths}
  size_bytes = os.path.getsize(paths[0]) if len(paths) == 1 else None
  query = neighbours.mean_direction(vectors)

  def is_own(one: Similar) -> bool:
    is_copy = (
      one.cosine > _MIN_COPY_COSINE and one.entry.size_bytes == size_bytes
    )
    return is_copy or os.path.realpath(one.entry.path) in own

  num_tracks, wanted = index.num_classified(), _NUM_EXTRA + 2 * (k + len(paths))
  while True:
    candidates = nearest_to(index, query, min(wanted, num_tracks))
    found = [one for one in candidates if not is_own(one)]
    if diverse:
      found = _one_per_artist(found)
    if len(found) >= k or wanted >= num_tracks:
      return found[:k]
    wanted *= 4


def nearest_to(index: Index, query: np.ndarray, k: int) -> list[Similar]:
  """Returns the tracks nearest to an embedding, the nearest first.

  Args:
    index: the index to search.
    query: f32[D], the embedding.
    k: the maximum number of tracks.

  Raises:
    DataError: the embeddings in the index have another size.
  """
  if not index.num_classified():
    return []
  nearest = neighbours.nearest(index, query, k)
  entries = index.by_id([key for key, _ in nearest])
  return [Similar(entries[x], cosine) for x, cosine in nearest if x in entries]


def nearest_others(index: Index, query: np.ndarray, k: int) -> list[Similar]:
  """Does what `nearest_to` does, but skips the song itself and its copies.

  Args:
    index: the index to search.
    query: f32[D], the embedding of a song that may be in the index.
    k: the maximum number of tracks.
  """
  found = nearest_to(index, query, k + _NUM_EXTRA)
  return [one for one in found if one.cosine <= _MIN_COPY_COSINE][:k]


def _one_per_artist(found: list[Similar]) -> list[Similar]:
  """Keeps the nearest track of each artist and all tracks without one."""
  kept: dict[object, Similar] = {}
  for one in found:
    kept.setdefault(known_artist(one.entry.artist) or one.entry.id, one)
  return list(kept.values())


def _embeddings(index: Index, paths: Sequence[str]) -> np.ndarray:
  found = {}
  for path in paths:
    full = os.path.abspath(path)
    entry = index.find(full) or index.find(os.path.realpath(full))
    if entry and not entry.failure and os.path.isfile(entry.path):
      if entry.is_unchanged(os.stat(entry.path)):
        found[path] = index.embedding(entry)
  missing = [path for path in paths if path not in found]
  if missing:
    from mgc_jax.inference import loading  # imports JAX

    stored_model = index.model()
    if stored_model is None:
      raise DataError(
        f'{index.path}: damaged (has tracks but no model); delete it and index '
        'the folders again'
      )
    name, digest, _ = stored_model
    model = loading.load(name, owns_process=True)
    if model.digest != digest:
      raise ConfigError(
        f'{index.path}: made by another version of {name} than the current '
        'one; delete it and index the folders again'
      )
    for path in missing:
      try:
        found[path] = model.predict(path).embedding
      except DataError as error:
        raise DataError(f'{printable(path)}: {error}') from error
  return np.stack([found[path] for path in paths])
