"""The index of the records: what each excerpt is and where it is stored.

Splits, statistics and the order of an epoch are computed from it without
reading a record; its offsets let the input pipeline read in any order.
"""

import csv
import dataclasses
import hashlib
import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from etils import epath

if TYPE_CHECKING:
  import tensorflow_datasets as tfds

INDEX_FILE = 'index.csv'
BAND_SUMS_FILE = 'band_sums.npy'
GENRES_FILE = 'genres.txt'
SKIPPED_FILE = 'left_out.csv'  # tracks without a record, and why
DAMAGED_FILE = 'damaged.csv'  # tracks that were read in part, and why
SUMS_FILE = 'SHA256SUMS'  # of the other files, in the format of sha256sum

# TFRecord: length (8 bytes) and its checksum (4), data, checksum of data (4).
_FRAMING_BYTES = 16
_COLUMNS = (
  'excerpt_id',
  'track_id',
  'artist',
  'sha256',
  'label',
  'duration_s',
  'num_frames',
  'shard',
  'offset',
)


@dataclasses.dataclass(frozen=True)
class ExcerptIndex:
  """One row for each of n excerpts; the columns are arrays of length n."""

  directory: epath.Path
  genres: tuple[str, ...]
  excerpt_id: np.ndarray  # str
  track_id: np.ndarray  # str
  artist: np.ndarray  # str, '' if unknown
  sha256: np.ndarray  # str, digest of the decoded samples
  label: np.ndarray  # i64, index into `genres`
  duration_s: np.ndarray  # f64
  num_frames: np.ndarray  # i64
  shard: np.ndarray  # str, name of the TFRecord file
  offset: np.ndarray  # i64, position of the record in its shard, in bytes
  band_sums: np.ndarray  # f32[n, 2, F], sums of the frames and their squares

  def __len__(self) -> int:
    """Returns the number of excerpts."""
    return len(self.label)

  def band_stats(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns f32[F] mean and f32[F] standard deviation over excerpts.

    Args:
      rows: i64[n], the excerpts. Repeated ones count once; excerpts count as a
        whole, under the window protocol too.
    """
    rows = np.unique(rows)
    sums, squares = self.band_sums[rows].astype(np.float64).sum(axis=0)
    count = self.num_frames[rows].sum()
    mean = sums / count
    variance = np.maximum(squares / count - mean**2, 1e-6)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def write(
  directory: str | os.PathLike,
  features: 'tfds.features.FeaturesDict',
  genres: Sequence[str],
) -> None:
  """Reads every record, without its windows, and writes the index.

  Args:
    directory: the folder of the records, `SKIPPED_FILE` and `DAMAGED_FILE`.
    features: what `builder.record_features` returned for the records.
    genres: the genres in the order of their labels.
  """
  import tensorflow_datasets as tfds

  from mgc_jax.datasets.without_keras import tf

  directory = epath.Path(directory)
  facts = tfds.decode.PartialDecoding(
    {name: name in (*_COLUMNS, 'band_sums') for name in features}
  ).extract_features(features)
  assert isinstance(facts, tfds.features.FeaturesDict)  # as `features` is
  band_sums = []
  file = io.StringIO(newline='')
  writer = csv.DictWriter(file, _COLUMNS, extrasaction='ignore')
  writer.writeheader()
  for shard in sorted(directory.glob('*.tfrecord*')):
    offset = 0
    dataset = tf.data.TFRecordDataset(str(shard))
    dataset = dataset.map(
      lambda record: (
        tf.strings.length(record),
        facts.deserialize_example(record),
      )
    )
    for length, example in dataset.as_numpy_iterator():
      band_sums.append(example.pop('band_sums'))
      row = {
        name: value.decode() if isinstance(value, bytes) else value.item()
        for name, value in example.items()
      }
      writer.writerow({**row, 'shard': shard.name, 'offset': offset})
      offset += int(length) + _FRAMING_BYTES
  (directory / INDEX_FILE).write_bytes(file.getvalue().encode())
  with (directory / BAND_SUMS_FILE).open('wb') as sums:
    np.save(sums, np.stack(band_sums), allow_pickle=False)
  text = ''.join(f'{genre}\n' for genre in genres)
  (directory / GENRES_FILE).write_text(text, encoding='utf-8')
  (directory / SUMS_FILE).write_text(_sums(directory), encoding='utf-8')


def _sums(directory: epath.Path) -> str:
  """Returns the digests of all files but the records, which have checksums."""
  return ''.join(
    f'{hashlib.sha256((directory / name).read_bytes()).hexdigest()}  {name}\n'
    for name in (
      INDEX_FILE,
      BAND_SUMS_FILE,
      GENRES_FILE,
      SKIPPED_FILE,
      DAMAGED_FILE,
    )
  )


def read(directory: str | os.PathLike) -> ExcerptIndex:
  """Reads the index of a folder of records, with rows sorted by excerpt_id.

  Raises:
    OSError: a file is missing.
    ValueError: a file was changed after it was written; names the file.
  """
  directory = epath.Path(directory)
  written = (directory / SUMS_FILE).read_text(encoding='utf-8').splitlines()
  odd = set(written) ^ set(_sums(directory).splitlines())
  if odd:
    raise ValueError(f'changed: {min(odd).split()[-1]}')
  text = (directory / INDEX_FILE).read_bytes().decode()
  rows = list(csv.DictReader(io.StringIO(text, newline='')))
  order = sorted(range(len(rows)), key=lambda i: rows[i]['excerpt_id'])
  columns = {name: [rows[i][name] for i in order] for name in _COLUMNS}
  numbers = {
    name: np.array(columns.pop(name), np.float64 if 'duration' in name else int)
    for name in ('label', 'duration_s', 'num_frames', 'offset')
  }
  text = (directory / GENRES_FILE).read_text(encoding='utf-8')
  sums = io.BytesIO((directory / BAND_SUMS_FILE).read_bytes())
  return ExcerptIndex(
    directory=directory,
    genres=tuple(text.splitlines()),
    band_sums=np.load(sums, allow_pickle=False)[order],
    **{name: np.array(column, dtype=str) for name, column in columns.items()},
    **numbers,
  )
