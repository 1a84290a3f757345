"""Records what a run was trained on, to warn if the same is evaluated."""

import csv
import pathlib

import numpy as np

from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.splits import Examples
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError

FILE = 'trained_on.csv'
_HEADER = ['track_id', 'sha256']  # the digest of the decoded samples


def write(
  workdir: pathlib.Path, index: ExcerptIndex, examples: Examples
) -> None:
  """Writes the list of the tracks in the training split, atomically.

  Args:
    workdir: the run's folder.
    index: the index of the excerpts.
    examples: the training split.
  """
  rows = np.unique(examples.rows)
  with (
    atomic_file.writing(workdir / FILE) as partial,
    partial.open('w', newline='', encoding='utf-8') as file,
  ):
    writer = csv.writer(file)
    writer.writerow(_HEADER)
    writer.writerows(zip(index.track_id[rows], index.sha256[rows], strict=True))


def count_seen_in_training(
  workdir: pathlib.Path, index: ExcerptIndex, examples: Examples
) -> int | None:
  """Returns how many of the examples' tracks were seen in training.

  Decoded samples are compared, not names.

  Args:
    workdir: the run's folder.
    index: the index of the excerpts.
    examples: the examples to be evaluated.

  Returns:
    The number of tracks, or None if the run has no list (of old versions).

  Raises:
    DataError: the list is damaged.
  """
  path = workdir / FILE
  if not path.exists():
    return None
  if not path.is_file():  # reading a pipe or a device might never end
    raise DataError(f'{path}: not a file; delete it')
  try:
    with path.open(newline='', encoding='utf-8') as file:
      seen = [row['sha256'] for row in csv.DictReader(file)]
  except (OSError, LookupError, ValueError, csv.Error) as error:
    raise DataError(f'{path}: damaged ({error}); delete it') from error
  rows = np.unique(examples.rows)
  rows = rows[np.isin(index.sha256[rows], seen)]
  return len(np.unique(index.track_id[rows]))
