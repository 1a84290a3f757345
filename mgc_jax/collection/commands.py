"""The commands of the collection: each opens the index, works, and reports.

Each takes the path of the index and the flags and words of the command. It
raises `ConfigError` for wrong usage and `DataError` for an index or a file that
cannot be used. If some files failed, each is reported and the process exits
with 1. As in most collections some files are broken, `index` does so only with
--strict, or if a file or folder could not be looked at.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import sys
from collections.abc import Iterator

from mgc_jax.collection import (
  formats,
  organise,
  playlist,
  report,
  roots,
  similar,
  tagging,
)
from mgc_jax.collection.entry import ClassifiedEntry
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import METHODS, Journal, TagJournal
from mgc_jax.collection.scan import Counts, scan
from mgc_jax.inference import cluster_flags
from mgc_jax.system import atomic_file, figure_file
from mgc_jax.system.arguments import file_path
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.lock import exclusive
from mgc_jax.system.printable_text import printable
from mgc_jax.system.user_dirs import user_data_dir

_RETRY_S = 30.0  # after a folder could not be indexed


@contextlib.contextmanager
def _for_change(path: pathlib.Path, create: bool = False) -> Iterator[Index]:
  """Locks and opens an index, and completes what a killed process started."""

  def refuse() -> None:
    raise DataError(f'{path}: another process is using it; wait for it')

  if not create:
    with Index(path):  # reports a missing index, before a lock is made
      pass
  with contextlib.ExitStack() as stack:
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      lock = path.with_name(f'{path.name}.lock')
      stack.enter_context(exclusive(lock, refuse))
    except OSError as error:
      raise DataError(f'{path}: cannot be used: {error.strerror}') from error
    index = stack.enter_context(Index(path, create=create))
    index.check()
    organise.recover(index, Journal(path))
    tagging.recover(index, TagJournal(path))
    yield index


def _index(path: pathlib.Path, args: argparse.Namespace) -> None:
  if not (args.folders or args.moved):
    raise ConfigError('index: specify a folder')
  if args.scheduler and args.watch:
    raise ConfigError('--watch: cannot be combined with --scheduler')
  cluster_for = functools.partial(
    cluster_flags.cluster_of, args, default=path.with_name(f'{path.name}.parts')
  )
  cluster_for('')  # reports flags that contradict each other
  has_failed = False
  with _for_change(path, create=not args.moved) as index:
    folders = list(args.folders)
    if args.moved:
      folders.insert(0, _renamed(index, path, args.moved))
    folders = [*{os.path.realpath(x): x for x in folders}.values()]
    for folder in folders:
      counts = scan(
        index,
        folder,
        args.model,
        args.strict,
        args.retry,
        args.engine,
        cluster_for,
      )
      _say_counts(path, counts)
      has_failed |= bool(counts.missed or (args.strict and counts.failed))
  if args.watch:
    _watch(path, folders, args)
  else:
    _exit(has_failed)


def _say_counts(path: pathlib.Path, counts: Counts) -> None:
  print(
    f'{path}: {counts.classified} indexed, {counts.unchanged} unchanged, '
    f'{counts.forgotten} removed, {counts.failed} failed'
    + _about_failures(counts),
    flush=True,
  )


def _watch(
  path: pathlib.Path, folders: list[str], args: argparse.Namespace
) -> None:
  """Indexes folders again whenever their files change, until Ctrl-C."""
  from mgc_jax.collection import watch  # needs an extra

  with (
    watch.watching(folders) as changes,
    contextlib.suppress(KeyboardInterrupt),
  ):
    names = ', '.join(map(printable, folders))
    print(f'watching {names}; press Ctrl-C to stop', flush=True)
    pending: set[str] = set()
    renamed: list[tuple[str, str]] = []
    last_error = ''
    while True:
      found = changes.wait(_RETRY_S if pending else None)
      pending |= {x for x in folders if _contains_any(x, found.paths)}
      renamed += found.renamed
      try:
        with _for_change(path) as index:
          _index_again(index, pending, renamed, args)
      except (ConfigError, DataError) as error:
        # Another command may use the index; a disk may come back.
        if str(error) != last_error:
          print(f'error: {error}', file=sys.stderr, flush=True)
        last_error = str(error)
      else:
        last_error = ''


def _index_again(
  index: Index,
  pending: set[str],
  renamed: list[tuple[str, str]],
  args: argparse.Namespace,
) -> None:
  """Indexes folders that have changed, and removes them from `pending`.

  Args:
    index: the index, open for changes.
    pending: the folders.
    renamed: folders with their old and new paths; becomes empty.
    args: those of the command.
  """
  while renamed:
    old, new = renamed.pop(0)
    with contextlib.suppress(ConfigError):  # it has no tracks
      roots.rename(index, f'{old}={new}')
  for folder in sorted(pending):
    counts = scan(index, folder, args.model, args.strict, engine=args.engine)
    pending.discard(folder)
    if counts.classified or counts.forgotten:
      _say_counts(index.path, counts)


def _contains_any(folder: str, paths: set[str]) -> bool:
  """Returns whether a path is in a folder, as watchdog names both."""
  start = os.path.join(folder, '')
  return any(path == folder or path.startswith(start) for path in paths)


def _about_failures(counts: Counts) -> str:
  """Returns what the line of counts adds about failures."""
  text = ''
  if counts.failed_before:
    text = f' ({counts.failed_before} of them before; --retry reads them again)'
  return text + (
    f', {counts.missed} could not be read' if counts.missed else ''
  )


def _renamed(index: Index, path: pathlib.Path, moved: str) -> str:
  """Applies --moved, and returns the folder's new path."""
  old, new, number = roots.rename(index, moved)
  print(
    f'{path}: {roots.tracks(number)} of {printable(old)} are now in '
    f'{printable(new)}'
  )
  return new


def _forget(path: pathlib.Path, args: argparse.Namespace) -> None:
  with _for_change(path) as index:
    number = roots.forget(index, args.folder)
  print(
    f'{path}: {roots.tracks(number)} of {printable(args.folder)} removed '
    'from the index; no file was changed'
  )


def _exit(num_failed: int) -> None:
  if num_failed:
    sys.exit(1)


def _report(path: pathlib.Path, args: argparse.Namespace) -> None:
  plot = file_path('plot', args.plot)
  with Index(path) as index:
    summary = report.summarise(index, args.least)
  if args.format == 'text':
    print(report.text_of(summary))
  else:
    _write(formats.report_as(summary, args.format))
  if plot:
    _write_plot(summary, plot)


def _write_plot(summary: report.Summary, plot: pathlib.Path) -> None:
  try:
    with figure_file.never_stopping(plot, requested=True):
      report.plot(summary, plot)
      print(f'plot: {plot}', file=sys.stderr)
  except OSError as error:
    raise DataError(f'--plot={plot}: cannot be written: {error}') from error


def _target(to: str) -> str:
  if not to:
    raise ConfigError('--to: specify the folder to organise into')
  target = os.path.realpath(to)
  if os.path.lexists(target) and not os.path.isdir(target):
    raise ConfigError(f'--to={target}: not a folder')
  return target


def _organise(path: pathlib.Path, args: argparse.Namespace) -> None:
  target = _target(args.to)
  method = args.method or METHODS[0]
  with _for_change(path) as index:
    journal = Journal(path)
    plan = organise.plan(
      index,
      journal,
      target,
      method,
      tuple(args.by or ['genre']),
      args.min_probability,
      args.companions,
    )
    num_failed = 0
    if args.apply:
      num_failed = organise.apply(index, journal, plan)
    else:
      for record in plan.records:
        print(f'{method} {printable(record.source)} -> {printable(record.to)}')
  _say_done(method, len(plan.records) - num_failed, target, args.apply)
  if plan.num_in_place:
    print(f'{plan.num_in_place} are already there')
  _exit(num_failed)


def _say_done(what: str, number: int, target: str, done: bool) -> None:
  if done:
    print(f'{target}: {what} of {number} files done')
  else:
    print(
      f'{target}: {what} of {number} files; nothing was changed, use --apply'
    )


def _undo(path: pathlib.Path, args: argparse.Namespace) -> None:
  if args.to is None:
    _undo_tags(path, args)
  else:
    _undo_organise(path, args)


def _undo_tags(path: pathlib.Path, args: argparse.Namespace) -> None:
  with _for_change(path) as index:
    journal = TagJournal(path)
    if not any(journal.entries()):
      raise ConfigError(
        f'undo: tag changed no file of {path}; with --to=DIR, undo '
        'reverses organise'
      )
    counts = tagging.undo(index, journal, Journal(path), args.apply)
  done = 'restored' if args.apply else 'to be restored: use --apply'
  print(f'tags: {counts.restored} {done}, {counts.failed} left unchanged')
  _exit(counts.failed)


def _undo_organise(path: pathlib.Path, args: argparse.Namespace) -> None:
  target = _target(args.to)
  with _for_change(path) as index:
    journal = Journal(path)
    records = journal.records(target)
    if not journal.knows(target):
      raise ConfigError(f'--to={target}: organise changed nothing there')
    num_failed = 0
    if args.apply:
      num_failed = organise.undo(index, journal, records)
    else:
      for record in records[::-1]:
        print(f'back {printable(record.to)} -> {printable(record.source)}')
  _say_done('undo', len(records) - num_failed, target, args.apply)
  _exit(num_failed)


def _playlist(path: pathlib.Path, args: argparse.Namespace) -> None:
  if not (args.genres or args.like):
    raise ConfigError('playlist: specify a genre, or --like and a song')
  to = file_path('to', args.to)
  with Index(path) as index:
    entries = _entries_of_playlist(index, args)
  folder = os.path.realpath(to.parent) if to and not args.absolute else None
  content, num_failed = [playlist.HEADER], 0
  for entry, lines in playlist.lines(entries, folder):
    content.append(lines)
    if not lines:
      num_failed += 1
      print(
        f'{printable(entry.path)}: skipped, contains a line break',
        file=sys.stderr,
      )
  if to:
    try:
      atomic_file.write_bytes(to, b''.join(content))
    except OSError as error:
      raise DataError(f'--to={to}: cannot be written: {error}') from error
    print(f'{to}: {roots.tracks(len(entries) - num_failed)}')
  else:
    _write(b''.join(content))
  _exit(num_failed)


def _entries_of_playlist(
  index: Index, args: argparse.Namespace
) -> list[ClassifiedEntry]:
  """Returns the tracks of genres, or those that are similar to songs."""
  genres = playlist.known_genres(index, args.genres)
  if not args.like:
    return playlist.tracks_of_genres(index, genres, args.min_probability)
  found = similar.find_similar(index, args.like, args.k, diverse=False)
  return [one.entry for one in found if not genres or one.entry.genre in genres]


def _tag(path: pathlib.Path, args: argparse.Namespace) -> None:
  with _for_change(path) as index:
    options = tagging.Options(
      args.min_probability, args.field, args.replace, args.apply, args.map
    )
    counts = tagging.tag(index, TagJournal(path), options)
  done = 'tagged' if args.apply else 'to be tagged: use --apply'
  print(
    f'{counts.tagged} {done}, {counts.kept} have a {args.field}, '
    f'{counts.uncertain} uncertain, {counts.failed} failed'
  )
  _exit(counts.failed)


def _similar(path: pathlib.Path, args: argparse.Namespace) -> None:
  with Index(path) as index:
    found = similar.find_similar(index, args.songs, args.k, args.diverse)
  if args.format != 'text':
    _write(formats.similar_as(found, args.format))
    return
  for one in found:
    print(f'{one.cosine:.3f} {one.entry.genre}  {printable(one.entry.path)}')


def _write(content: bytes) -> None:
  sys.stdout.buffer.write(content)
  sys.stdout.buffer.flush()


_COMMANDS = {
  'index': _index,
  'report': _report,
  'organise': _organise,
  'undo': _undo,
  'playlist': _playlist,
  'tag': _tag,
  'similar': _similar,
  'forget': _forget,
}


def run(args: argparse.Namespace) -> None:
  """Runs `args.command`."""
  path = file_path('index', args.index)
  _COMMANDS[args.command](path or user_data_dir() / 'collection.sqlite', args)
