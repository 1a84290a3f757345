"""Writes the genres of an index into the files' tags, and undoes that."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from mgc_jax.audio import tags as audio_tags
from mgc_jax.collection import spelling, tags
from mgc_jax.collection.entry import ClassifiedEntry
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal, TagJournal, TagRecord
from mgc_jax.collection.placing import FATAL_ERRORS
from mgc_jax.collection.spelling import genre_key
from mgc_jax.collection.tags import GenreTag
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable


@dataclasses.dataclass
class Counts:
  """How many files were (or would be) tagged, and how many were not."""

  tagged: int = 0
  kept: int = 0  # already have a genre
  uncertain: int = 0
  failed: int = 0


@dataclasses.dataclass
class UndoCounts:
  """How many files got (or would get) their old tag back."""

  restored: int = 0
  failed: int = 0  # left unchanged; each is reported


def tag(
  index: Index,
  journal: TagJournal,
  min_probability: float,
  replace: bool,
  apply: bool,
  given: Sequence[str] = (),
) -> Counts:
  """Tags files and prints a line for each.

  Args:
    index: the index of the tracks; the files' new sizes are recorded in it.
    journal: the index's journal; records the old tags for `undo`.
    min_probability: tracks below this probability are skipped.
    replace: whether to replace genres that a file already has.
    apply: whether to write the files; otherwise only prints.
    given: the names of genres in tags, as for `spelling.given_names`. Another
      genre has the spelling that the collection uses most, or else the model's.

  Raises:
    ConfigError: see `spelling.given_names`.
    DataError: the disk is full.
  """
  counts = Counts()
  model = index.model()
  genres = model[2] if model else ()
  own = spelling.given_names(given, genres)
  names = {**spelling.most_used(index.entries(), genres), **own}
  for entry in tqdm(list(index.entries()), 'tag', unit='file', disable=None):
    if entry.probability < min_probability:
      counts.uncertain += 1
      continue
    with _reported_failures(entry.path, counts):
      name = names.get(entry.genre, entry.genre)
      if _tag(index, journal, entry, name, replace, apply):
        counts.tagged += 1
      else:
        counts.kept += 1
  return counts


@contextlib.contextmanager
def _reported_failures(
  path: str, counts: Counts | UndoCounts
) -> Iterator[None]:
  """Prints and counts a file's failure; `FATAL_ERRORS` end the command."""
  try:
    yield
  except (DataError, OSError) as error:
    if isinstance(error, OSError) and error.errno in FATAL_ERRORS:
      raise DataError(
        f'{printable(path)}: cannot be written ({error.strerror}); every file '
        'is intact; free some space and run the same command to continue'
      ) from error
    counts.failed += 1
    reason = error.strerror if isinstance(error, OSError) else error
    tqdm.write(f'{printable(path)}: {reason}', file=sys.stderr)


def _tag(
  index: Index,
  journal: TagJournal,
  entry: ClassifiedEntry,
  name: str,
  replace: bool,
  apply: bool,
) -> bool:
  """Tags a file if it needs it; returns whether it was or would be tagged."""
  before = os.stat(entry.path)
  if not entry.is_unchanged(before):
    raise DataError('changed since it was indexed; index its folder again')
  present = audio_tags.genres(entry.path)
  is_same = list(map(genre_key, present)) == [genre_key(name)]
  if is_same or (present and not replace):
    return False
  if apply:
    _write(index, journal, entry, name, before)
  was = f' (was {_joined(present)})' if present else ''
  tqdm.write(f'{printable(entry.path)}: {printable(name)}{was}')
  return True


def _write(
  index: Index,
  journal: TagJournal,
  entry: ClassifiedEntry,
  name: str,
  before: os.stat_result,
) -> None:
  old = tags.read(entry.path)
  record = TagRecord(
    entry.path, index.token(), entry.id, name, old.values, old.id3v1
  )
  journal.write(record, 'started')
  try:
    tags.write_genre(entry.path, name, before)
  except (DataError, OSError):
    journal.write(record, 'undone')
    raise
  index.touch(entry.path, os.stat(entry.path))
  journal.write(record, 'done')


def _joined(genres: list[str] | tuple[str, ...]) -> str:
  return printable(', '.join(genres)) or 'no genre'


def recover(index: Index, journal: TagJournal) -> None:
  """Finishes the change that a killed `tag` or `undo` had started.

  The file itself is intact: it has either the old tag or the new one, and
  `undo` sees which. But a partial copy may be left beside it, and the index may
  not have the file's new size yet.

  Args:
    index: its size of the file is updated.
    journal: the index's journal.

  Raises:
    DataError: the index or the journal is damaged.
    OSError: the journal cannot be written.
  """
  unfinished = journal.unfinished()
  if not unfinished:
    return
  record, _ = unfinished
  path = _current_path(record, index, {})
  tags.remove_partial(path)
  entry = index.find(path)
  with contextlib.suppress(OSError):
    stat = os.stat(path)
    if entry and stat.st_mtime_ns == entry.mtime_ns:  # tagging keeps the time
      index.touch(path, stat)
  journal.write(record, 'done')


def undo(
  index: Index, journal: TagJournal, organised: Journal, apply: bool
) -> UndoCounts:
  """Restores the genre tags that `tag` replaced and prints a line for each.

  A file whose genre tag is no longer what `tag` wrote is left as it is and
  named. A file that was moved since is found through the index or through the
  journal of `organise`.

  Args:
    index: the index of the tracks; the files' new sizes are recorded in it.
    journal: the index's journal of `tag`.
    organised: the index's journal of `organise`.
    apply: whether to write the files; otherwise only prints.

  Raises:
    DataError: the disk is full, or a journal is damaged.
  """
  moves = {r.source: r.to for r in organised.records() if r.method == 'move'}
  by_path: dict[str, list[TagRecord]] = {}
  for record in journal.active():
    by_path.setdefault(_current_path(record, index, moves), []).append(record)
  counts = UndoCounts()
  bar = tqdm(by_path.items(), 'undo', unit='file', disable=None)
  for path, records in bar:
    with _reported_failures(path, counts):
      _undo_file(index, journal, path, records, counts, apply)
  return counts


def _current_path(
  record: TagRecord, index: Index, moves: dict[str, str]
) -> str:
  """Returns where the file of a record is now, as far as is known."""
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
  """Reverts what `tag` did to a file, the last change first."""
  if not os.path.isfile(path):
    old = _joined(records[0].old)
    raise DataError(f'missing; its old genre tag ({old}) is not restored')
  before = os.stat(path)
  present = tags.read(path)
  undone, old, blocking = _plan_undo(present, records)
  if old.values != present.values:
    if apply:
      _restore(index, journal, path, undone, old, before)
    counts.restored += 1
    now = _joined(present.values)
    tqdm.write(f'{printable(path)}: {_joined(old.values)} (now {now})')
  elif apply:
    for record in undone:
      journal.write(record, 'undone')
  if blocking:
    raise DataError(
      f'its genre tag is {_joined(old.values)} and no longer {blocking.genre}, '
      'which tag wrote; left unchanged'
    )


def _plan_undo(
  present: GenreTag, records: list[TagRecord]
) -> tuple[list[TagRecord], GenreTag, TagRecord | None]:
  """Finds out which changes to a file can be undone.

  Args:
    present: the file's present tag.
    records: the file's records in order.

  Returns:
    The records that can be undone, the last first; the tag after that; and the
    first record that cannot be undone because the tag has been changed since.
  """
  undone: list[TagRecord] = []
  tag = present
  for record in reversed(records):
    if tag.values == (record.genre,):
      tag = GenreTag(record.old, record.old_id3v1)
    elif tag.values != record.old:  # else never written, or already restored
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
  # The last first, so that a killed process leaves the earlier ones active.
  for record in records:
    journal.write(record, 'undone')
