"""Writes the genres of an index into the files' own tags, and takes it back."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator

from tqdm import tqdm

from mgc_jax.audio import tags as audio_tags
from mgc_jax.audio.names import comparable
from mgc_jax.collection import tags
from mgc_jax.collection.entry import Answered
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal, TagJournal, TagRecord
from mgc_jax.collection.placing import STOPPING
from mgc_jax.collection.tags import GenreTag
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable


@dataclasses.dataclass
class Counts:
  """How many files were tagged, or would be, and how many were not."""

  tagged: int = 0
  kept: int = 0  # have a genre already
  uncertain: int = 0
  failed: int = 0


@dataclasses.dataclass
class UndoCounts:
  """How many files got their old tag back, or would get it."""

  restored: int = 0
  failed: int = 0  # left as they are


def tag(
  index: Index,
  journal: TagJournal,
  min_probability: float,
  replace: bool,
  apply: bool,
) -> Counts:
  """Tags files, and prints a line for each.

  Args:
    index: has the tracks, and is updated with what changes of the files.
    journal: of the index; keeps the old tags for `undo`.
    min_probability: less probable tracks are left as they are.
    replace: whether genres that a file already has are replaced.
    apply: whether files are written.

  Raises:
    DataError: the disk is full.
  """
  counts = Counts()
  for entry in tqdm(list(index.entries()), 'tag', unit='file', disable=None):
    if entry.probability < min_probability:
      counts.uncertain += 1
      continue
    with _named_failures(entry.path, counts):
      if _tag(index, journal, entry, replace, apply):
        counts.tagged += 1
      else:
        counts.kept += 1
  return counts


@contextlib.contextmanager
def _named_failures(path: str, counts: Counts | UndoCounts) -> Iterator[None]:
  """Names a file that fails; errors that the next file would meet go on."""
  try:
    yield
  except (DataError, OSError) as error:
    if isinstance(error, OSError) and error.errno in STOPPING:
      raise DataError(
        f'{printable(path)}: cannot be written ({error.strerror}); every file '
        'is whole, and with room for more the same command continues'
      ) from error
    counts.failed += 1
    why = error.strerror if isinstance(error, OSError) else error
    tqdm.write(f'{printable(path)}: {why}', file=sys.stderr)


def _tag(
  index: Index,
  journal: TagJournal,
  entry: Answered,
  replace: bool,
  apply: bool,
) -> bool:
  """Returns whether a file is tagged, or would be."""
  before = os.stat(entry.path)
  if not entry.is_unchanged(before):
    raise DataError('changed since it was indexed; index its folder again')
  present = audio_tags.genres(entry.path)
  is_same = list(map(comparable, present)) == [comparable(entry.genre)]
  if is_same or (present and not replace):
    return False
  if apply:
    _write(index, journal, entry, before)
  was = f' (was {_shown(present)})' if present else ''
  tqdm.write(f'{printable(entry.path)}: {entry.genre}{was}')
  return True


def _write(
  index: Index, journal: TagJournal, entry: Answered, before: os.stat_result
) -> None:
  old = tags.read(entry.path)
  record = TagRecord(
    entry.path, index.token(), entry.id, entry.genre, old.values, old.id3v1
  )
  journal.write(record, 'begun')
  try:
    tags.write_genre(entry.path, entry.genre, before)
  except (DataError, OSError):
    journal.write(record, 'undone')
    raise
  index.touch(entry.path, os.stat(entry.path))
  journal.write(record, 'done')


def _shown(genres: list[str] | tuple[str, ...]) -> str:
  return printable(', '.join(genres)) or 'no genre'


def recover(index: Index, journal: TagJournal) -> None:
  """Finishes what a killed `tag` or `undo` had begun.

  The file itself is whole: it has the old tag or the new one, and `undo` sees
  which. What may be left is a copy beside it, and the index may not yet know
  the file's new size.

  Args:
    index: is updated.
    journal: of the index.

  Raises:
    DataError: the index or the journal is damaged.
    OSError: the journal cannot be written.
  """
  unfinished = journal.unfinished()
  if not unfinished:
    return
  record, _ = unfinished
  path = _place_of(record, index, {})
  tags.remove_partial(path)
  entry = index.find(path)
  with contextlib.suppress(OSError):
    found = os.stat(path)
    if entry and found.st_mtime_ns == entry.mtime_ns:  # which tagging keeps
      index.touch(path, found)
  journal.write(record, 'done')


def undo(
  index: Index, journal: TagJournal, organised: Journal, apply: bool
) -> UndoCounts:
  """Restores the genre tags that `tag` replaced, and prints a line for each.

  A file whose genre tag is no longer what `tag` wrote is left as it is, and
  named. A file that was moved since is found by the index or by the journal of
  `organise`.

  Args:
    index: is updated with what changes of the files.
    journal: of the index.
    organised: the journal of `organise`, of the same index.
    apply: whether files are written.

  Raises:
    DataError: the disk is full, or a journal is damaged.
  """
  moves = {r.source: r.to for r in organised.records() if r.method == 'move'}
  by_path: dict[str, list[TagRecord]] = {}
  for record in journal.active():
    by_path.setdefault(_place_of(record, index, moves), []).append(record)
  counts = UndoCounts()
  bar = tqdm(by_path.items(), 'undo', unit='file', disable=None)
  for path, records in bar:
    with _named_failures(path, counts):
      _undo_file(index, journal, path, records, counts, apply)
  return counts


def _place_of(record: TagRecord, index: Index, moves: dict[str, str]) -> str:
  """Returns where the file of a record is now, as far as that is known."""
  if record.token == index.token():
    entry = index.by_id([record.id]).get(record.id)
    if entry:
      return entry.path
  path, seen = record.path, set()
  while path in moves and path not in seen:
    seen.add(path)
    path = moves[path]
  return path


def _undo_file(
  index: Index,
  journal: TagJournal,
  path: str,
  records: list[TagRecord],
  counts: UndoCounts,
  apply: bool,
) -> None:
  """Takes back what `tag` did to a file, the last first."""
  if not os.path.isfile(path):
    old = _shown(records[0].old)
    raise DataError(f'not there; its genre tag, before: {old}, is not restored')
  before = os.stat(path)
  present = tags.read(path)
  undone, old, left = _taken_back(present, records)
  if old.values != present.values:
    if apply:
      _restore(index, journal, path, undone, old, before)
    counts.restored += 1
    now = _shown(present.values)
    tqdm.write(f'{printable(path)}: {_shown(old.values)} (now {now})')
  elif apply:
    for record in undone:
      journal.write(record, 'undone')
  if left:
    raise DataError(
      f'its genre tag is {_shown(old.values)}, and no longer {left.genre} as '
      'tag wrote it; left as it is'
    )


def _taken_back(
  present: GenreTag, records: list[TagRecord]
) -> tuple[list[TagRecord], GenreTag, TagRecord | None]:
  """Says what can be undone.

  Args:
    present: the tag of a file.
    records: of that file, in order.

  Returns:
    The records that can be undone, the last first; the tag after that; and the
    record that cannot be undone because the tag is another one.
  """
  undone: list[TagRecord] = []
  tag = present
  for record in reversed(records):
    if tag.values == (record.genre,):
      tag = GenreTag(record.old, record.old_id3v1)
    elif tag.values != record.old:  # else it was never written, or is restored
      return undone, tag, record
    undone.append(record)
  return undone, tag, None


def _restore(
  index: Index,
  journal: TagJournal,
  path: str,
  records: list[TagRecord],
  old: GenreTag,
  before: os.stat_result,
) -> None:
  entry = index.find(path)
  for record in records:
    journal.write(record, 'undoing')
  try:
    tags.write(path, old, before)
  except (DataError, OSError):
    for record in records:
      journal.write(record, 'done')
    raise
  if entry and entry.is_unchanged(before):
    index.touch(path, os.stat(path))
  for record in records:  # the last first: a kill in between leaves a prefix
    journal.write(record, 'undone')
