"""Sorts a collection into folders: plans it, applies the plan, or undoes it."""

import dataclasses
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence

from tqdm import tqdm

from mgc_jax.audio.files import is_audio, is_inside
from mgc_jax.audio.names import known_artist
from mgc_jax.collection import companions, placing
from mgc_jax.collection.entry import ClassifiedEntry
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal, Record
from mgc_jax.collection.placing import FATAL_ERRORS, LeftInPlace
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import is_shown, printable

_MAX_NAME_BYTES = 120  # of a folder name; file systems allow 255
UNCERTAIN, UNKNOWN = 'uncertain', 'unknown artist'
_APPLY = {
  'link': placing.link,
  'copy': placing.copy,
  'move': placing.move,
}


@dataclasses.dataclass(frozen=True)
class Plan:
  """Which files to link, copy or move.

  Attributes:
    tracks: the indexed tracks.
    companions: the files that go with them, such as covers.
    num_in_place: how many tracks are already in the target.
  """

  tracks: list[Record]
  companions: list[Record]
  num_in_place: int

  @property
  def records(self) -> list[Record]:
    """All files, the tracks first."""
    return [*self.tracks, *self.companions]


def plan(
  index: Index,
  journal: Journal,
  target: str,
  method: str,
  levels: tuple[str, ...],
  min_probability: float,
  kinds: Sequence[str] = (),
) -> Plan:
  """Plans where each track goes: `<target>/<genre>/<path in indexed folder>`.

  If another track or file already has that name, ignoring case, a number is
  added to it, so nothing is ever overwritten.

  Args:
    index: the index whose tracks are sorted.
    journal: the index's journal.
    target: the absolute path of the folder to sort into.
    method: `link`, `copy` or `move`.
    levels: what the nested folders are named after, from `placing.LEVELS`.
    min_probability: tracks below this probability go to the folder UNCERTAIN.
    kinds: which files of an album go with its tracks if these all go to one
      folder, from `companions.KINDS`.

  Raises:
    ConfigError: the target is inside an indexed folder, or another method was
      used for it before.
  """
  done = journal.records(target)
  for record in done:
    if record.method != method:
      raise ConfigError(
        f'--to={target}: was filled with --{record.method}; continue with it, '
        f'use another folder, or undo it: collection undo --to={target} '
        '--apply'
      )
  placed = {r.source for r in done if os.path.lexists(r.to)}
  placed |= {r.to for r in done}
  taken = {_normalised(r.to) for r in done}
  records, num_in_place = [], 0
  for entry in index.entries():
    if entry.path in placed or (done and entry.root == target):
      num_in_place += 1
      continue
    if is_inside(target, entry.root):
      raise ConfigError(
        f'--to={target}: inside {printable(entry.root)}, which is indexed, so '
        'tracks would be indexed twice; use a folder outside of it'
      )
    to = _free_path(_wanted_path(entry, target, levels, min_probability), taken)
    records.append(Record(target, method, entry.path, to, entry.root))
  roots = {os.path.dirname(r.source): r.root for r in [*done, *records]}
  moves = [(r.source, r.to) for r in [*done, *records] if is_audio(r.source)]
  others = [
    Record(
      target,
      method,
      path,
      _free_path(os.path.join(folder, os.path.basename(path)), taken),
      roots[os.path.dirname(path)],
    )
    for path, folder in companions.destinations(moves, kinds)
    if path not in placed
  ]
  return Plan(records, others, num_in_place)


def _wanted_path(
  entry: ClassifiedEntry,
  target: str,
  levels: tuple[str, ...],
  min_probability: float,
) -> str:
  is_certain = entry.probability >= min_probability
  names = {
    'genre': entry.genre if is_certain else UNCERTAIN,
    'artist': entry.artist if known_artist(entry.artist) else UNKNOWN,
  }
  folders = [_folder_name(names[level]) for level in levels]
  return os.path.join(target, *folders, os.path.relpath(entry.path, entry.root))


def _folder_name(name: str) -> str:
  """Converts a name to one that every file system accepts for a folder."""
  kept = ''.join(
    c if is_shown(c) and c not in '/\\:*?"<>|' else '_' for c in name
  )
  short = kept.encode('utf-8', 'surrogateescape')[:_MAX_NAME_BYTES]
  return short.decode('utf-8', 'ignore').strip(' .') or '_'


def _free_path(wanted: str, taken: set[str]) -> str:
  """Returns an unused path and adds it to the paths that are taken."""
  start, extension = os.path.splitext(wanted)
  to, number = wanted, 1
  while _normalised(to) in taken or os.path.lexists(to):
    number += 1
    to = f'{start} ({number}){extension}'
  taken.add(_normalised(to))
  return to


def _normalised(path: str) -> str:
  """Normalises a path: file systems may ignore case and Unicode form."""
  return unicodedata.normalize('NFC', path).casefold()


def apply(index: Index, journal: Journal, to_do: Plan) -> int:
  """Applies a plan; a second call continues an interrupted one.

  Args:
    index: its paths of moved tracks are updated.
    journal: the index's journal; each change is recorded before it is made.
    to_do: what `plan` returned.

  Returns:
    The number of files that failed; each is reported on standard error.

  Raises:
    DataError: the disk is full.
  """
  tracks = {record.source for record in to_do.tracks}

  def apply_record(record: Record) -> None:
    """Applies one change and records its states in the journal."""
    if record.source in tracks:
      _check_track(index, record)
    elif record.method == 'move':
      _check_album(record)
    _apply_record(index, journal, record)

  return _for_each(to_do.records, 'organise', apply_record)


def _check_track(index: Index, record: Record) -> None:
  entry = index.find(record.source)
  if not entry or not entry.is_unchanged(os.stat(record.source)):
    raise LeftInPlace('changed since it was indexed; index its folder again')


def _check_album(record: Record) -> None:
  if companions.has_audio(os.path.dirname(record.source)):
    raise LeftInPlace('a track stays in its folder, so it stays there too')


def _apply_record(index: Index, journal: Journal, record: Record) -> None:
  journal.write(record, 'started')
  try:
    _APPLY[record.method](record.source, record.to)
  except (OSError, LeftInPlace):
    journal.write(record, 'undone')
    raise
  if record.method == 'move':
    index.move(record.source, record.to, record.target)
  journal.write(record, 'done')


def recover(index: Index, journal: Journal) -> None:
  """Finishes the change that a killed process had started.

  Args:
    index: its path of a moved track is updated.
    journal: the index's journal.

  Raises:
    DataError: the index or the journal is damaged.
    OSError: a file cannot be created or removed.
  """
  unfinished = journal.unfinished()
  if not unfinished:
    return
  record, state = unfinished
  if state == 'started':
    placing.finish(record.method, record.source, record.to)
    is_done = os.path.lexists(record.to)
    if record.method == 'move':
      is_done = is_done and not os.path.lexists(record.source)
  else:
    if record.method == 'move':
      placing.finish('move', record.to, record.source)
    is_done = os.path.lexists(record.to)
  if record.method == 'move' and is_done:
    index.move(record.source, record.to, record.target)
  elif record.method == 'move':
    index.move(record.to, record.source, record.root)
  journal.write(record, 'done' if is_done else 'undone')


def undo(index: Index, journal: Journal, records: list[Record]) -> int:
  """Reverts changes, the last first; a second call continues.

  A copy is deleted only if the original still exists and is identical. A file
  is moved back only if its old path is free.

  Args:
    index: its paths of tracks that are moved back are updated.
    journal: the index's journal.
    records: the journal's records to revert.

  Returns:
    The number of files left in place; each is reported on standard error.

  Raises:
    DataError: the disk is full.
  """

  def undo_record(record: Record) -> None:
    """Reverts one change and records its states in the journal."""
    journal.write(record, 'undoing')
    try:
      _UNDO[record.method](record)
    except (OSError, LeftInPlace):
      journal.write(record, 'done')
      raise
    if record.method == 'move':
      index.move(record.to, record.source, record.root)
    journal.write(record, 'undone')
    _remove_empty_folders(os.path.dirname(record.to), record.target)

  return _for_each(records[::-1], 'undo', undo_record)


def _undo_link(record: Record) -> None:
  if os.path.islink(record.to) and os.readlink(record.to) == record.source:
    os.unlink(record.to)
  elif os.path.lexists(record.to):
    raise LeftInPlace(f'{printable(record.to)} is another file now; it is kept')


def _undo_copy(record: Record) -> None:
  if not os.path.lexists(record.to):
    return
  _refuse_links(record)
  if not os.path.isfile(record.source):
    raise LeftInPlace(f'missing; its copy is kept: {printable(record.to)}')
  if not placing.is_same(record.source, record.to):
    raise LeftInPlace(f'its copy differs and is kept: {printable(record.to)}')
  os.unlink(record.to)


def _undo_move(record: Record) -> None:
  if not os.path.lexists(record.to):
    if not os.path.lexists(record.source):
      raise LeftInPlace(f'missing, and so is {printable(record.to)}')
    return  # it was never moved, or is already back
  _refuse_links(record)
  if os.path.lexists(record.source):
    if not placing.is_same(record.source, record.to):
      raise LeftInPlace(
        f'another file is there now; kept: {printable(record.to)}'
      )
    os.unlink(record.to)
    return
  placing.move(record.to, record.source)


def _refuse_links(record: Record) -> None:
  """Raises if a path has become a link: its target may be the only copy."""
  for path in (record.source, record.to):
    if os.path.islink(path):
      raise LeftInPlace(f'{printable(path)} is a link now; nothing is changed')


_UNDO = {'link': _undo_link, 'copy': _undo_copy, 'move': _undo_move}


def _remove_empty_folders(folder: str, target: str) -> None:
  """Removes a folder and those above it, up to the target, if empty."""
  while folder != target and is_inside(folder, target):
    try:
      os.rmdir(folder)
    except OSError:  # not empty
      return
    folder = os.path.dirname(folder)


def _for_each(
  records: list[Record], title: str, function: Callable[[Record], None]
) -> int:
  """Calls a function for each record, prints failures and counts them."""
  num_failed = 0
  for record in tqdm(records, desc=title, unit='file', disable=None):
    try:
      function(record)
    except (LeftInPlace, OSError) as error:
      if isinstance(error, OSError) and error.errno in FATAL_ERRORS:
        raise DataError(
          f'{record.target}: cannot be written ({error.strerror}); every file '
          'is intact; free some space and run the same command to continue'
        ) from error
      num_failed += 1
      reason = error.strerror if isinstance(error, OSError) else error
      tqdm.write(f'{printable(record.source)}: {reason}', file=sys.stderr)
  return num_failed
