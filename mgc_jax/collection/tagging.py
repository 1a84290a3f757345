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
from mgc_jax.collection.tags import Field
from mgc_jax.inference.pretrained import NOT_MUSIC
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable


@dataclasses.dataclass(frozen=True)
class Options:
  """What `tag` writes.

  Attributes:
    min_probability: tracks below this probability are skipped.
    field: where genres are written, one of `journal.TAG_FIELDS`.
    replace: whether to replace values that a file already has in the field.
    apply: whether to write the files; otherwise `tag` only prints.
    given: the names of genres in tags, as for `spelling.given_names`. Another
      genre has the spelling that the collection uses most, or else the model's.
  """

  min_probability: float
  field: str = 'genre'
  replace: bool = False
  apply: bool = False
  given: Sequence[str] = ()


@dataclasses.dataclass
class Counts:
  """How many files were (or would be) tagged, and how many were not."""

  tagged: int = 0
  kept: int = 0  # already have a value in the field
  uncertain: int = 0  # or not music
  failed: int = 0


@dataclasses.dataclass
class UndoCounts:
  """How many files got (or would get) their old tag back."""

  restored: int = 0
  failed: int = 0  # left unchanged; each is reported


def tag(index: Index, journal: TagJournal, options: Options) -> Counts:
  """Tags files and prints a line for each.

  Args:
    index: the index of the tracks; the files' new sizes are recorded in it.
    journal: the index's journal; records the old tags for `undo`.
    options: what to write.

  Raises:
    ConfigError: see `spelling.given_names`.
    DataError: the disk is full.
  """
  counts = Counts()
  model = index.model()
  genres = model[2] if model else ()
  own = spelling.given_names(options.given, genres)
  tagged = spelling.genre_tags(index.entries())
  names = {**spelling.most_used(tagged, genres), **own}
  for entry in tqdm(list(index.entries()), 'tag', unit='file', disable=None):
    is_certain = entry.probability >= options.min_probability
    if not is_certain or entry.genre == NOT_MUSIC:
      counts.uncertain += 1
      continue
    with _reported_failures(entry.path, counts):
      name = names.get(entry.genre, entry.genre)
      if _tag(index, journal, entry, name, options):
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
  options: Options,
) -> bool:
  """Tags a file if it needs it; returns whether it was or would be tagged."""
  before = os.stat(entry.path)
  if not entry.is_unchanged(before):
    raise DataError('changed since it was indexed; index its folder again')
  old = tags.read(entry.path, options.field)
  present = list(old.values)
  if options.field == 'genre':
    present = audio_tags.genres(entry.path)  # names in place of ID3's numbers
  is_same = list(map(genre_key, present)) == [genre_key(name)]
  if is_same or (present and not options.replace):
    return False
  if options.apply:
    record = TagRecord(
      entry.path,
      index.token(),
      entry.id,
      name,
      old.values,
      old.id3v1,
      options.field,
    )
    _write(index, journal, record, before)
  was = f' (was {_joined(present, options.field)})' if present else ''
  tqdm.write(f'{printable(entry.path)}: {printable(name)}{was}')
  return True


def _write(
  index: Index, journal: TagJournal, record: TagRecord, before: os.stat_result
) -> None:
  """Writes what a record says."""
  journal.write(record, 'started')
  try:
    tags.write(record.path, Field((record.genre,)), record.field, before)
  except (DataError, OSError):
    journal.write(record, 'undone')
    raise
  index.touch(record.path, os.stat(record.path))
  journal.write(record, 'done')


def _joined(values: Sequence[str], field: str) -> str:
  return printable(', '.join(values)) or f'no {field}'


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
  """Restores the tags that `tag` replaced and prints a line for each.

  A file whose tag is no longer what `tag` wrote is left as it is and
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
  by_field: dict[tuple[str, str], list[TagRecord]] = {}
  for record in journal.active():
    key = _current_path(record, index, moves), record.field
    by_field.setdefault(key, []).append(record)
  counts = UndoCounts()
  bar = tqdm(by_field.items(), 'undo', unit='file', disable=None)
  for (path, _), records in bar:
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
  """Reverts what `tag` did to a field of a file, the last change first."""
  name = records[0].field
  if not os.path.isfile(path):
    old = _joined(records[0].old, name)
    raise DataError(f'missing; its old {name} tag ({old}) is not restored')
  before = os.stat(path)
  present = tags.read(path, name)
  undone, old, blocking = _plan_undo(present, records)
  if old.values != present.values:
    if apply:
      _restore(index, journal, path, undone, old, before)
    counts.restored += 1
    now, was = _joined(present.values, name), _joined(old.values, name)
    tqdm.write(f'{printable(path)}: {was} (now {now})')
  elif apply:
    for record in undone:
      journal.write(record, 'undone')
  if blocking:
    raise DataError(
      f'its {name} tag is {_joined(old.values, name)} and no longer '
      f'{blocking.genre}, which tag wrote; left unchanged'
    )


def _plan_undo(
  present: Field, records: list[TagRecord]
) -> tuple[list[TagRecord], Field, TagRecord | None]:
  """Finds out which changes to a field of a file can be undone.

  Args:
    present: the field as it is now.
    records: the records of it in order.

  Returns:
    The records that can be undone, the last first; the field after that; and
    the first record that cannot be undone because the field has been changed
    since.
  """
  undone: list[TagRecord] = []
  field = present
  for record in reversed(records):
    if field.values == (record.genre,):
      field = Field(record.old, record.old_id3v1)
    elif field.values != record.old:  # else never written, or already restored
      return undone, field, record
    undone.append(record)
  return undone, field, None


def _restore(
  index: Index,
  journal: TagJournal,
  path: str,
  records: list[TagRecord],
  old: Field,
  before: os.stat_result,
) -> None:
  entry = index.find(path)
  for record in records:
    journal.write(record, 'undoing')
  try:
    tags.write(path, old, records[0].field, before)
  except (DataError, OSError):
    for record in records:
      journal.write(record, 'done')
    raise
  if entry and entry.is_unchanged(before):
    index.touch(path, os.stat(path))
  # The last first, so that a killed process leaves the earlier ones active.
  for record in records:
    journal.write(record, 'undone')
