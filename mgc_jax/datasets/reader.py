"""Reads TFRecords into numpy batches in a given order, with tf.data.

The order of an epoch is a function of (seed, epoch) computed in numpy. Records
are read at the offsets in the index, so no shuffle buffer is needed and an
epoch can start at any point without reading what precedes it.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mgc_jax.datasets.builder import record_features
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.splits import Examples
from mgc_jax.datasets.without_keras import tf
from mgc_jax.system.errors import DataError

# Reserve the accelerators for JAX; TensorFlow would take their memory.
tf.config.set_visible_devices([], 'GPU')

Batch = dict[str, np.ndarray]


class Reader:
  """Reads examples of an index in any order."""

  def __init__(self, index: ExcerptIndex, own_genres: np.ndarray | None = None):
    """Creates a reader.

    Args:
      index: describes the records and where they are stored.
      own_genres: bool[n, C], the genres with which the loss of each excerpt
        compares its own, as `splits.own_genres` returns them; None: all.
    """
    self.index = index
    self._own_genres = own_genres
    num_bands = index.band_sums.shape[-1]
    self._features = record_features(num_bands, index.genres)

  def batches(
    self,
    examples: Examples,
    order: np.ndarray,
    batch_size: int,
    genre_weights: np.ndarray | None = None,
    part: tuple[int, int] = (0, 1),
  ) -> Iterator[Batch]:
    """Yields batches of the same shape.

    Args:
      examples: the examples of one or several splits.
      order: i64[n], indices into the examples.
      batch_size: the size of a batch, all its parts together; the last batch
        is padded with copies.
      genre_weights: f32[C], the weight of an example by its genre; by default
        ones.
      part: (i, n) to read and yield only the i-th of n equal parts of each
        batch, B rows.

    Yields:
      `frames` f16[B, N, F] (padded with zeros to the length N of the longest
      example), `num_frames` i32[B], `label` i32[B], `weight` f32[B] (0 for
      padding); and `own_genres` bool[B, C], if the reader was given them.

    Raises:
      DataError: a record is damaged; names its file.
    """
    if not len(order):
      return
    index = self.index
    if genre_weights is None:
      genre_weights = np.ones(len(index.genres))
    padded = np.resize(order, -(-len(order) // batch_size) * batch_size)
    weight = genre_weights[index.label[examples.rows[padded]]]
    weight = weight.astype(np.float32)
    weight[len(order) :] = 0.0
    number, num_parts = part
    batch_size //= num_parts
    shape = (-1, num_parts, batch_size)
    padded = padded.reshape(shape)[:, number].ravel()
    weight = weight.reshape(shape)[:, number].ravel()
    rows, lengths = examples.rows[padded], examples.num_frames[padded]
    paths = [str(index.directory / name) for name in index.shard[rows]]
    where = (paths, index.offset[rows], examples.starts[padded], lengths)
    dataset = tf.data.Dataset.from_tensor_slices(where).map(
      functools.partial(self._read, size=int(examples.num_frames.max())),
      num_parallel_calls=tf.data.AUTOTUNE,
      deterministic=True,
    )
    for i, frames in enumerate(self._numpy(dataset.batch(batch_size))):
      at = slice(i * batch_size, (i + 1) * batch_size)
      batch = {
        'frames': frames,
        'num_frames': lengths[at].astype(np.int32),
        'label': index.label[rows[at]].astype(np.int32),
        'weight': weight[at],
      }
      if self._own_genres is not None:
        batch['own_genres'] = self._own_genres[rows[at]]
      yield batch

  def _read(
    self,
    path: tf.Tensor,
    offset: tf.Tensor,
    start: tf.Tensor,
    length: tf.Tensor,
    size: int,
  ) -> tf.Tensor:
    """Returns f16[size, F], an example's frames, padded with zeros."""
    # TensorFlow's only reader that starts at an offset; it verifies checksums.
    records = tf.raw_ops.TFRecordDatasetV2(
      filenames=tf.expand_dims(path, 0),
      compression_type='',
      buffer_size=1 << 18,  # bytes, about the size of a record
      byte_offsets=tf.expand_dims(offset, 0),
    )
    record = tf.raw_ops.DatasetToSingleElement(
      dataset=tf.raw_ops.TakeDataset(
        input_dataset=records,
        count=tf.constant(1, tf.int64),
        output_types=[tf.string],
        output_shapes=[tf.TensorShape([])],
      ),
      output_types=[tf.string],
      output_shapes=[tf.TensorShape([])],
    )[0]
    example: Any = self._features.deserialize_example(record)
    windows = example['windows']
    frames = tf.reshape(windows, [-1, windows.shape[-1]])
    frames = frames[start : start + length]
    missing: Any = size - tf.shape(frames)[0]  # a tensor, usable like an int
    frames = tf.pad(frames, [[0, missing], [0, 0]])
    return tf.ensure_shape(frames, [size, windows.shape[-1]])

  def _numpy(self, dataset: tf.data.Dataset) -> Iterator[np.ndarray]:
    try:
      yield from dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    except tf.errors.OpError as error:
      raise DataError(
        f'{self._damaged() or self.index.directory}: a record is damaged '
        f'({error.message}); delete {self.index.directory} and run this again '
        'to prepare it again'
      ) from error

  def _damaged(self) -> pathlib.Path | None:
    """Returns the first shard that cannot be read to its end."""
    for name in np.unique(self.index.shard):
      path = self.index.directory / name
      try:
        found = sum(1 for _ in tf.data.TFRecordDataset(str(path)))
      except tf.errors.OpError:
        return path
      if found < (self.index.shard == name).sum():
        return path
    return None
