"""Sorts a collection into folders: first a plan, then its files, then undo."""

import dataclasses
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable

from tqdm import tqdm

from mgc_jax.audio.files import is_inside
from mgc_jax.audio.names import known_artist
from mgc_jax.collection import placing
from mgc_jax.collection.entry import Answered
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal, Record
from mgc_jax.collection.placing import STOPPING, Stays
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import is_shown, printable

_MAX_NAME_BYTES = 120  # of a folder; file systems take 255
UNCERTAIN, UNKNOWN = 'uncertain', 'unknown artist'
_PLACE = {
  'link': placing.link,
  'copy': placing.copy,
  'move': placing.move,
}


@dataclasses.dataclass(frozen=True)
class Plan:
  """Which files are to be placed."""

  records: list[Record]
  num_in_place: int  # tracks that are in the target already


def plan(
  index: Index,
  journal: Journal,
  target: str,
  method: str,
  levels: tuple[str, ...],
  min_probability: float,
) -> Plan:
  """Plans where each track goes: `<target>/<genre>/<its path in its folder>`.

  A name that another track or another file already has, ignoring case, gets a
  number: nothing is ever overwritten.

  Args:
    index: has the tracks.
    journal: of the index.
    target: an absolute path.
    method: link, copy or move.
    levels: the folders above a track, of `placing.LEVELS`.
    min_probability: less probable tracks go to the folder UNCERTAIN.

  Raises:
    ConfigError: the target lies inside an indexed folder, or was filled by
      another method.
  """
  done = journal.records(target)
  for record in done:
    if record.method != method:
      raise ConfigError(
        f'--to={target}: was filled by --{record.method}; go on with it, name '
        f'another folder, or undo it: collection undo --to={target} --apply'
      )
  placed = {r.source for r in done if os.path.lexists(r.to)}
  placed |= {r.to for r in done}
  taken = {_alike(r.to) for r in done}
  records, num_in_place = [], 0
  for entry in index.entries():
    if entry.path in placed or (done and entry.root == target):
      num_in_place += 1
      continue
    if is_inside(target, entry.root):
      raise ConfigError(
        f'--to={target}: inside {printable(entry.root)}, which is indexed: its '
        'tracks would be found twice; name a folder outside of it'
      )
    to = _free(_place(entry, target, levels, min_probability), taken)
    records.append(Record(target, method, entry.path, to, entry.root))
  return Plan(records, num_in_place)


def _place(
  entry: Answered, target: str, levels: tuple[str, ...], min_probability: float
) -> str:
  is_certain = entry.probability >= min_probability
  names = {
    'genre': entry.genre if is_certain else UNCERTAIN,
    'artist': entry.artist if known_artist(entry.artist) else UNKNOWN,
  }
  folders = [_folder_name(names[level]) for level in levels]
  return os.path.join(target, *folders, os.path.relpath(entry.path, entry.root))


def _folder_name(name: str) -> str:
  """Returns a name that every file system accepts as one folder."""
  kept = ''.join(
    c if is_shown(c) and c not in '/\\:*?"<>|' else '_' for c in name
  )
  short = kept.encode('utf-8', 'surrogateescape')[:_MAX_NAME_BYTES]
  return short.decode('utf-8', 'ignore').strip(' .') or '_'


def _free(wanted: str, taken: set[str]) -> str:
  """Returns a path that is free, and adds it to those that are taken."""
  start, ending = os.path.splitext(wanted)
  to, number = wanted, 1
  while _alike(to) in taken or os.path.lexists(to):
    number += 1
    to = f'{start} ({number}){ending}'
  taken.add(_alike(to))
  return to


def _alike(path: str) -> str:
  """Returns a path in a form in which file systems may compare names."""
  return unicodedata.normalize('NFC', path).casefold()


def apply(index: Index, journal: Journal, records: list[Record]) -> int:
  """Places the files of a plan; a second call continues an interrupted one.

  Args:
    index: gets the new paths of moved tracks.
    journal: of the index; each file is written there before it is touched.
    records: of `plan`.

  Returns:
    The number of files that could not be placed; each is named on standard
    error.

  Raises:
    DataError: the disk is full.
  """
  return _each(records, 'organise', lambda r: _do(index, journal, r))


def _do(index: Index, journal: Journal, record: Record) -> None:
  entry = index.find(record.source)
  if not entry or not entry.is_unchanged(os.stat(record.source)):
    raise Stays('changed since it was indexed; index its folder again')
  journal.write(record, 'begun')
  try:
    _PLACE[record.method](record.source, record.to)
  except (OSError, Stays):
    journal.write(record, 'undone')
    raise
  if record.method == 'move':
    index.move(record.source, record.to, record.target)
  journal.write(record, 'done')


def recover(index: Index, journal: Journal) -> None:
  """Finishes what a killed process had begun.

  Args:
    index: gets the new path of a moved track.
    journal: of the index.

  Raises:
    DataError: the index or the journal is damaged.
    OSError: a file cannot be placed or removed.
  """
  unfinished = journal.unfinished()
  if not unfinished:
    return
  record, state = unfinished
  if state == 'begun':
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
  """Takes back what was done, the last first; a second call continues.

  A copy is deleted only while the original is there and identical. A file is
  moved back only to a path that is free.

  Args:
    index: gets the paths of tracks that are moved back.
    journal: of the index.
    records: of the journal, those that were done.

  Returns:
    The number of files that stay where they are; each is named on standard
    error.

  Raises:
    DataError: the disk is full.
  """

  def take_back(record: Record) -> None:
    """Undoes one record, and writes each of its states to the journal."""
    journal.write(record, 'undoing')
    try:
      _UNDO[record.method](record)
    except (OSError, Stays):
      journal.write(record, 'done')
      raise
    if record.method == 'move':
      index.move(record.to, record.source, record.root)
    journal.write(record, 'undone')
    _remove_empty(os.path.dirname(record.to), record.target)

  return _each(records[::-1], 'undo', take_back)


def _undo_link(record: Record) -> None:
  if os.path.islink(record.to) and os.readlink(record.to) == record.source:
    os.unlink(record.to)
  elif os.path.lexists(record.to):
    raise Stays(f'{printable(record.to)} is another file now; left there')


def _undo_copy(record: Record) -> None:
  if not os.path.lexists(record.to):
    return
  _refuse_links(record)
  if not os.path.isfile(record.source):
    raise Stays(f'gone; its copy is left: {printable(record.to)}')
  if not placing.is_same(record.source, record.to):
    raise Stays(f'its copy differs and is left: {printable(record.to)}')
  os.unlink(record.to)


def _undo_move(record: Record) -> None:
  if not os.path.lexists(record.to):
    if not os.path.lexists(record.source):
      raise Stays(f'gone, and so is {printable(record.to)}')
    return  # it was never moved, or is back
  _refuse_links(record)
  if os.path.lexists(record.source):
    if not placing.is_same(record.source, record.to):
      raise Stays(f'another file is there now; left: {printable(record.to)}')
    os.unlink(record.to)
    return
  placing.move(record.to, record.source)


def _refuse_links(record: Record) -> None:
  """A link is not a second file: its target may be the only one."""
  for path in (record.source, record.to):
    if os.path.islink(path):
      raise Stays(f'{printable(path)} is a link now; all is left as it is')


_UNDO = {'link': _undo_link, 'copy': _undo_copy, 'move': _undo_move}


def _remove_empty(folder: str, target: str) -> None:
  while folder != target and is_inside(folder, target):
    try:
      os.rmdir(folder)
    except OSError:  # something is in it
      return
    folder = os.path.dirname(folder)


def _each(
  records: list[Record], title: str, act: Callable[[Record], None]
) -> int:
  """Acts on each record; one that fails is named, and the next one follows."""
  num_failed = 0
  for record in _bar(records, title):
    try:
      act(record)
    except (Stays, OSError) as error:
      if isinstance(error, OSError) and error.errno in STOPPING:
        raise DataError(
          f'{record.target}: cannot be written ({error.strerror}); every file '
          'is whole, and with room for more the same command continues'
        ) from error
      num_failed += 1
      why = error.strerror if isinstance(error, OSError) else error
      tqdm.write(f'{printable(record.source)}: {why}', file=sys.stderr)
  return num_failed


def _bar(records: list[Record], title: str) -> Iterable[Record]:
  return tqdm(records, desc=title, unit='file', disable=None)
