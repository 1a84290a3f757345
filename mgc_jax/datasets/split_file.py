"""Writes a split as a CSV beside the records."""

import csv
import io
import logging
import os

from etils import epath

from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.splits import Splits

_logger = logging.getLogger(__name__)


def write_split(splits: Splits, index: ExcerptIndex, data: DataConfig) -> None:
  """Writes a CSV with the split of each excerpt, for users to read.

  If it cannot be written, this logs a warning.

  Args:
    splits: the examples of each split.
    index: describes the excerpts; the CSV is written to its folder.
    data: `config.data`, which determines the name of the file.
  """
  name = f'split-{splits.protocol}-seed{data.split_seed}'
  if data.num_folds:
    name += f'-fold{data.fold}of{data.num_folds}'
  file = io.StringIO(newline='')
  writer = csv.writer(file)
  writer.writerow(['excerpt_id', 'start_frame', 'num_frames', 'split'])
  for split, examples in splits.examples.items():
    for row, start, length in zip(
      examples.rows, examples.starts, examples.num_frames, strict=True
    ):
      writer.writerow([index.excerpt_id[row], start, length, split])
  path = epath.Path(index.directory) / f'{name}.csv'
  partial = path.with_suffix(f'.{os.getpid()}')
  try:
    partial.write_bytes(file.getvalue().encode())
    partial.replace(path)
  except OSError as error:
    _logger.warning('%s: not written (%s)', path, error.strerror)
