"""Finds songs that are similar to given ones."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from mgc_jax.audio.names import known_artist
from mgc_jax.collection import neighbours
from mgc_jax.collection.entry import Answered
from mgc_jax.collection.index import Index
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

_SLACK = 20  # more candidates than answers
_SAME = 1 - 1e-5  # cosine of a copy


@dataclasses.dataclass(frozen=True)
class Similar:
  """A track, and how similar it is."""

  entry: Answered
  cosine: float  # of the mean embeddings


def find_similar(
  index: Index, paths: Sequence[str], k: int, diverse: bool
) -> list[Similar]:
  """Finds the tracks nearest to one song, or to the mean of several.

  Args:
    index: has the tracks.
    paths: of the songs. A song that is not in the index, or has changed since,
      is listened to now.
    k: the number of answers; there are fewer if the index has no more.
    diverse: whether each artist comes once, as far as tags name artists.

  Returns:
    The nearest first; never one of the songs, or a copy of the only one.

  Raises:
    ConfigError: there is no song, the index is empty, or it was made by
      another model than the present one.
    DataError: a song cannot be read; the message names it.
  """
  if not paths:
    raise ConfigError('similar: name a song, or several')
  if not index.num_answered():
    raise ConfigError(f'--index={index.path}: empty; index a folder')
  vectors = _embeddings(index, paths)
  own = {os.path.realpath(path) for path in paths}
  size_bytes = os.path.getsize(paths[0]) if len(paths) == 1 else None
  query = neighbours.mean_direction(vectors)

  def is_own(one: Similar) -> bool:
    is_copy = one.cosine > _SAME and one.entry.size_bytes == size_bytes
    return is_copy or os.path.realpath(one.entry.path) in own

  num_tracks, wanted = index.num_answered(), _SLACK + 2 * (k + len(paths))
  while True:
    ranked = nearest_to(index, query, min(wanted, num_tracks))
    found = [one for one in ranked if not is_own(one)]
    if diverse:
      found = _each_artist_once(found)
    if len(found) >= k or wanted >= num_tracks:
      return found[:k]
    wanted *= 4


def nearest_to(index: Index, query: np.ndarray, k: int) -> list[Similar]:
  """Returns the tracks nearest to an embedding, the nearest first.

  Args:
    index: has the tracks.
    query: f32[D], the embedding.
    k: the number of answers.

  Raises:
    DataError: the index has embeddings of another size.
  """
  if not index.num_answered():
    return []
  ranked = neighbours.ranked(index, query, k)
  entries = index.by_id([key for key, _ in ranked])
  return [Similar(entries[x], cosine) for x, cosine in ranked if x in entries]


def others(index: Index, query: np.ndarray, k: int) -> list[Similar]:
  """Does what `nearest_to` does, without the song itself or a copy of it.

  Args:
    index: has the tracks.
    query: f32[D], the embedding of a song that may be among them.
    k: the number of answers.
  """
  found = nearest_to(index, query, k + _SLACK)
  return [one for one in found if one.cosine <= _SAME][:k]


def _each_artist_once(found: list[Similar]) -> list[Similar]:
  """Keeps the nearest track of each artist, and all without a known artist."""
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
    from mgc_jax.inference import loading  # JAX: for new songs only

    known = index.model()
    if known is None:
      raise DataError(
        f'{index.path}: damaged (tracks, and no model); delete it, and index '
        'the folders again'
      )
    name, digest, _ = known
    model = loading.load(name, owns_process=True)
    if model.digest != digest:
      raise ConfigError(
        f'{index.path}: made by another {name} than the one of today; delete '
        'it, and index the folders again'
      )
    for path in missing:
      try:
        found[path] = model.predict(path).embedding
      except DataError as error:
        raise DataError(f'{printable(path)}: {error}') from error
  return np.stack([found[path] for path in paths])
