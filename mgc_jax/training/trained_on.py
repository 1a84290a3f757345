"""What a run was trained on, so that an evaluation on it is called so."""

import csv
import pathlib

import numpy as np

from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.splits import Examples
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError

FILE = 'trained_on.csv'
_HEADER = ['track_id', 'sha256']  # the latter of decoded samples


def write(
  workdir: pathlib.Path, index: ExcerptIndex, examples: Examples
) -> None:
  """Writes the list of the training split, whole or not at all.

  Args:
    workdir: of the run.
    index: of the excerpts.
    examples: of the training split.
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
  """Returns how many of the examples' tracks the run was trained on.

  Recordings are compared, sample for sample, not names.

  Args:
    workdir: of the run; None where it kept no list (before there were any).
    index: of the excerpts.
    examples: to be evaluated.

  Raises:
    DataError: the list is damaged.
  """
  path = workdir / FILE
  if not path.exists():
    return None
  if not path.is_file():  # a pipe waits, a device never ends
    raise DataError(f'{path}: not a file; delete it')
  try:
    with path.open(newline='', encoding='utf-8') as file:
      heard = [row['sha256'] for row in csv.DictReader(file)]
  except (OSError, LookupError, ValueError, csv.Error) as error:
    raise DataError(f'{path}: damaged ({error}); delete it') from error
  rows = np.unique(examples.rows)
  rows = rows[np.isin(index.sha256[rows], heard)]
  return len(np.unique(index.track_id[rows]))
