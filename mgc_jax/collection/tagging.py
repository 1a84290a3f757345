"""Writes the genres of an index into the files' own tags."""

import dataclasses
import os
import sys

from tqdm import tqdm

from mgc_jax.audio import tags as audio_tags
from mgc_jax.collection import tags
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.collection.placing import STOPPING
from mgc_jax.errors import DataError
from mgc_jax.names import printable


@dataclasses.dataclass
class Counts:
  """What was done, or would be."""

  tagged: int = 0
  kept: int = 0  # have a genre already
  uncertain: int = 0
  failed: int = 0


def tag(
  index: Index, min_probability: float, replace: bool, apply: bool
) -> Counts:
  """Tags files, and prints a line for each.

  Args:
    index: of the tracks; follows what changes of the files.
    min_probability: tracks under it are left as they are.
    replace: whether a genre that a file has gives way.
    apply: whether files are written.

  Raises:
    DataError: the disk is full.
  """
  counts = Counts()
  for entry in tqdm(list(index.entries()), 'tag', unit='file', disable=None):
    if entry.probability < min_probability:
      counts.uncertain += 1
      continue
    try:
      _tag(index, entry, replace, apply, counts)
    except (DataError, OSError) as error:
      if isinstance(error, OSError) and error.errno in STOPPING:
        raise DataError(
          f'{printable(entry.path)}: cannot be written ({error.strerror}); '
          'every file is whole, and with room for more the same command '
          'continues'
        ) from error
      counts.failed += 1
      why = error.strerror if isinstance(error, OSError) else error
      tqdm.write(f'{printable(entry.path)}: {why}', file=sys.stderr)
  return counts


def _tag(
  index: Index, entry: Entry, replace: bool, apply: bool, counts: Counts
) -> None:
  if not entry.is_unchanged(os.stat(entry.path)):
    raise DataError('changed since it was indexed; index its folder again')
  old = audio_tags.genre(entry.path)
  if old == entry.genre or (old and not replace):
    counts.kept += 1
    return
  was = f' (was {printable(old)})' if old else ''
  if apply:
    tags.write_genre(entry.path, entry.genre)
    index.touch(entry.path, os.stat(entry.path))
  counts.tagged += 1
  tqdm.write(f'{printable(entry.path)}: {entry.genre}{was}')
