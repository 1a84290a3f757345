"""Finds recordings that occur twice, by the sound of their log-mel frames.

It finds a recording that was encoded again, made louder or softer, filtered, or
cut to begin some seconds later. Another performance of a song is not found.

A frame is described by its contrasts: how the level differences between
neighbouring groups of bands change over a fraction of a second. A level or an
equaliser does not affect them, and the scale of the decibels not their signs.
The signs of a frame's contrasts form its word. Tracks that share words are
candidates, which are compared by the correlation of their contrasts at the best
time shift. Words that occur in many tracks are ignored, so that the number of
comparisons of words grows linearly with the collection.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mgc_jax.config.schema import FeaturesConfig
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.excerpts import try_excerpts
from mgc_jax.datasets.track import Track
from mgc_jax.datasets.workers import map_tracks
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)

# As fractions of all bands. Encoding changes the others more: with 128 bands up
# to 11,025 Hz these are 0.2 to 3.7 kHz.
_LOWEST, _HIGHEST = 1 / 16, 11 / 16
_MIN_BANDS = 64
_NUM_GROUPS = 25  # of bands; neighbours have 24 differences
_SMOOTHING_S = 0.2  # lets frames match that were not taken at the same moment
_LAG_S = 0.4
_MAX_TRACKS_PER_WORD = 50  # a more frequent word is ignored
_MIN_SHARED_WORDS = 3
_MIN_OVERLAP_S = 5.0
_MIN_SIMILARITY = 0.6  # docs/RELIABILITY.md says why
_BLOCK_TRACKS = 1000


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
  """Two excerpts with the same recording.

  Attributes:
    first: the number of an excerpt.
    second: the number of a later excerpt.
    shift_s: how much later in the first excerpt the same sound occurs.
    similarity: the correlation of their contrasts, at most 1.
  """

  first: int
  second: int
  shift_s: float
  similarity: float


def features(frames_per_s: float) -> FeaturesConfig:
  """Returns how frames are computed that are only compared."""
  return FeaturesConfig(hop_samples=512, frames_per_s=frames_per_s)


def contrasts(frames: np.ndarray, frames_per_s: float) -> np.ndarray:
  """Returns f16[M, 24], by which recordings are compared; M is less than N.

  Args:
    frames: f[N, F] in dB.
    frames_per_s: their rate.

  Raises:
    DataError: there are too few bands.
  """
  from scipy.ndimage import gaussian_filter1d

  num_bands = frames.shape[1]
  if num_bands < _MIN_BANDS:
    raise DataError(
      f'{num_bands} bands: near-duplicates are found with {_MIN_BANDS} or more'
    )
  edges = np.linspace(
    _LOWEST * num_bands, _HIGHEST * num_bands, _NUM_GROUPS + 1
  )
  edges = edges.round().astype(int)
  levels = frames[:, : edges[-1]].astype(np.float32)
  groups = np.add.reduceat(levels, edges[:-1], axis=1) / np.diff(edges)
  smooth = gaussian_filter1d(
    groups, _SMOOTHING_S * frames_per_s, axis=0, mode='nearest'
  )
  lag = max(1, round(_LAG_S * frames_per_s))
  differences = np.diff(smooth, axis=1)
  return (differences[lag:] - differences[:-lag]).astype(np.float16)


def find_near_duplicates(
  signatures: Sequence[np.ndarray], frames_per_s: float
) -> list[NearDuplicate]:
  """Returns all pairs that have the same recording.

  Args:
    signatures: what `contrasts` returned for each excerpt.
    frames_per_s: the rate of the frames.
  """
  found = []
  min_overlap = round(_MIN_OVERLAP_S * frames_per_s)
  for first, second in _candidates(signatures):
    shift, similarity = _best_shift(
      signatures[first], signatures[second], min_overlap
    )
    if similarity >= _MIN_SIMILARITY:
      found.append(
        NearDuplicate(first, second, shift / frames_per_s, similarity)
      )
  return found


def group_names(
  names: Sequence[str] | np.ndarray, pairs: Iterable[NearDuplicate]
) -> np.ndarray:
  """Returns str[n], the name of each excerpt's group; '' if it has no other.

  Args:
    names: str[n]. A group has the name of its first excerpt.
    pairs: the near-duplicates. Excerpts are in one group if they are connected
      by pairs.
  """
  from scipy.sparse import coo_array
  from scipy.sparse.csgraph import connected_components

  edges = np.array([(p.first, p.second) for p in pairs], int).reshape(-1, 2)
  graph = coo_array(
    (np.ones(len(edges)), (edges[:, 0], edges[:, 1])),
    shape=(len(names), len(names)),
  )
  component = connected_components(graph, directed=False)[1]
  _, first, number, size = np.unique(
    component, return_index=True, return_inverse=True, return_counts=True
  )
  return np.where(size[number] > 1, np.asarray(names)[first[number]], '')


def groups_of_tracks(
  tracks: list[Track], features: FeaturesConfig, num_workers: int = 0
) -> dict[str, str]:
  """Reads tracks, and returns the group of each track_id that is in one.

  Args:
    tracks: their paths are audio or `.npy` files. What cannot be read is
      logged and left out.
    features: how frames are computed; of `.npy` files, their rate.
    num_workers: processes that decode; 0 for one per core.
  """
  names, signatures = [], []
  for track, outcome in map_tracks(
    _signatures_of, tracks, (features,), num_workers, 'compare'
  ):
    if isinstance(outcome, str):
      _logger.warning('skipped: %s: %s', printable(track.path), outcome)
    else:
      names += [track.track_id] * len(outcome)
      signatures += outcome
  pairs = find_near_duplicates(signatures, features.frames_per_s)
  return {
    name: group
    for name, group in zip(names, group_names(names, pairs), strict=True)
    if group
  }


def groups_of_records(index: ExcerptIndex) -> np.ndarray:
  """Reads all records, and returns str[n], the group of each excerpt or ''.

  Raises:
    DataError: a record is damaged; names its file.
  """
  from mgc_jax.datasets.builder import record_features  # TensorFlow: seconds
  from mgc_jax.datasets.without_keras import tf

  rate = float(np.median(index.num_frames / index.duration_s))
  record = record_features(index.band_sums.shape[-1], index.genres)
  found = {}
  for shard in np.unique(index.shard):
    path = str(index.directory / shard)
    dataset = tf.data.TFRecordDataset(path).map(record.deserialize_example)
    try:
      example: Any  # a dictionary of arrays, and of bytes
      for example in dataset.as_numpy_iterator():
        windows = example['windows']
        frames = windows.reshape(-1, windows.shape[-1])
        frames = frames[: example['num_frames']]
        found[example['excerpt_id'].decode()] = contrasts(frames, rate)
    except tf.errors.OpError as error:
      raise DataError(
        f'{path}: a record is damaged ({error.message}); delete this folder '
        'and run this again to prepare it again'
      ) from error
  pairs = find_near_duplicates([found[e] for e in index.excerpt_id], rate)
  return group_names(index.track_id, pairs)


def _signatures_of(
  track: Track, features: FeaturesConfig
) -> list[np.ndarray] | str:
  """Returns the contrasts of a track's excerpts, or why it cannot be read."""
  found = try_excerpts(track, features, 0.0, 'warn')
  if isinstance(found, str):
    return found
  return [contrasts(e.frames, features.frames_per_s) for e in found]


def _candidates(signatures: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
  """Yields pairs that share several rare words, the first with less number."""
  from scipy.sparse import csr_array

  if not signatures:
    return
  bits = 1 << np.arange(_NUM_GROUPS - 1)
  words = [np.unique((s > 0) @ bits) for s in signatures]
  rows = np.repeat(np.arange(len(words)), [len(w) for w in words])
  _, columns, counts = np.unique(
    np.concatenate(words), return_inverse=True, return_counts=True
  )
  used = (counts[columns] > 1) & (counts[columns] <= _MAX_TRACKS_PER_WORD)
  contains: Any = csr_array(
    (np.ones(used.sum(), np.int32), (rows[used], columns[used])),
    shape=(len(words), len(counts)),
  )
  for start in range(0, len(words), _BLOCK_TRACKS):
    shared = (contains[start : start + _BLOCK_TRACKS] @ contains.T).tocoo()
    firsts, seconds = shared.row + start, shared.col
    enough = (shared.data >= _MIN_SHARED_WORDS) & (firsts < seconds)
    yield from zip(
      firsts[enough].tolist(), seconds[enough].tolist(), strict=True
    )


def _best_shift(
  first: np.ndarray, second: np.ndarray, min_overlap: int
) -> tuple[int, float]:
  """Returns the shift with the highest correlation, and that correlation.

  Args:
    first: f16[M, 24], contrasts.
    second: f16[M', 24], contrasts of another excerpt.
    min_overlap: the number of frames in which they must overlap.

  Returns:
    The number of frames by which the same sound is later in `first`; and 0.0
    as the correlation if they cannot overlap.
  """
  length, other = len(first), len(second)
  shifts = np.arange(min_overlap - other, length - min_overlap + 1)
  if not len(shifts):
    return 0, 0.0
  a, b = first.astype(np.float32), second.astype(np.float32)
  size = length + other - 1
  spectrum = np.fft.rfft(a, size, axis=0) * np.fft.rfft(b, size, axis=0).conj()
  products = np.fft.irfft(spectrum.sum(axis=1), size)[shifts]
  begin, end = np.maximum(shifts, 0), np.minimum(length, other + shifts)
  energy = _energy(a, begin, end) * _energy(b, begin - shifts, end - shifts)
  correlation = products / np.sqrt(np.maximum(energy, 1e-6))
  best = int(np.argmax(correlation))
  return int(shifts[best]), float(correlation[best])


def _energy(x: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
  """Returns the sums of squares of x[begin:end], for many ranges."""
  total = np.concatenate([[0.0], np.cumsum((x**2).sum(axis=1), dtype=float)])
  return total[end] - total[begin]
