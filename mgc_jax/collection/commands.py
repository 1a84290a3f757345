"""The commands of the collection: each opens the index, works, and reports.

Each takes the path of the index and the words after the command's name, and
reads its flags itself. It raises `ConfigError` for wrong usage and `DataError`
for an index or a file that cannot be used. If some files failed, each is named
and the process exits with 1.
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator

from absl import flags

from mgc_jax.collection import organise, report, roots, similar, tagging
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import METHODS, Journal, TagJournal
from mgc_jax.collection.scan import scan
from mgc_jax.system import command_line, figure_file
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.lock import exclusive
from mgc_jax.system.printable_text import printable


@contextlib.contextmanager
def _for_change(path: pathlib.Path, create: bool = False) -> Iterator[Index]:
  """Locks and opens an index, and finishes what a killed process began."""

  def refuse() -> None:
    raise DataError(f'{path}: another process is at work on it; wait for it')

  if not create:
    with Index(path):  # says where there is none, before a lock is made
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


def _index(path: pathlib.Path, words: list[str]) -> None:
  num_failed = 0
  with _for_change(path, create=not flags.FLAGS.moved) as index:
    folders = list(words)
    if flags.FLAGS.moved:
      folders = [_renamed(index, path), *words]
    for folder in {os.path.realpath(x): x for x in folders}.values():
      counts = scan(index, folder, flags.FLAGS.model, flags.FLAGS.strict)
      print(
        f'{path}: {counts.answered} indexed, {counts.unchanged} unchanged, '
        f'{counts.forgotten} gone, {counts.failed} failed'
      )
      num_failed += counts.failed
  _exit(num_failed)


def _renamed(index: Index, path: pathlib.Path) -> str:
  """Does what --moved says, and returns the folder's new path."""
  old, new, number = roots.rename(index, flags.FLAGS.moved)
  print(
    f'{path}: {roots.tracks(number)} of {printable(old)} are now in '
    f'{printable(new)}'
  )
  return new


def _forget(path: pathlib.Path, words: list[str]) -> None:
  with _for_change(path) as index:
    number = roots.forget(index, words[0])
  print(
    f'{path}: {roots.tracks(number)} of {printable(words[0])} forgotten; '
    'no file was touched'
  )


def _exit(num_failed: int) -> None:
  if num_failed:
    sys.exit(1)


def _report(path: pathlib.Path, words: list[str]) -> None:
  plot = command_line.file_of('plot')
  with Index(path) as index:
    summary = report.summarise(index, flags.FLAGS.least)
  print(report.text_of(summary))
  if plot:
    _write_plot(summary, plot)


def _write_plot(summary: report.Summary, plot: pathlib.Path) -> None:
  try:
    with figure_file.never_stopping(plot, requested=True):
      report.plot(summary, plot)
      print(f'picture: {plot}', file=sys.stderr)
  except OSError as error:
    raise DataError(f'--plot={plot}: cannot be written: {error}') from error


def _target() -> str:
  if not flags.FLAGS.to:
    raise ConfigError('--to: name the folder to organise into')
  target = os.path.realpath(flags.FLAGS.to)
  if os.path.lexists(target) and not os.path.isdir(target):
    raise ConfigError(f'--to={target}: not a folder')
  return target


def _organise(path: pathlib.Path, words: list[str]) -> None:
  target = _target()
  methods = [name for name in METHODS if flags.FLAGS[name].value]
  if len(methods) > 1:
    raise ConfigError(f'--{" --".join(methods)}: choose one')
  method = methods[0] if methods else METHODS[0]
  with _for_change(path) as index:
    journal = Journal(path)
    plan = organise.plan(
      index,
      journal,
      target,
      method,
      tuple(flags.FLAGS.by),
      flags.FLAGS.min_probability,
    )
    num_failed = 0
    if flags.FLAGS.apply:
      num_failed = organise.apply(index, journal, plan.records)
    else:
      for record in plan.records:
        print(f'{method} {printable(record.source)} -> {printable(record.to)}')
  _say_done(method, len(plan.records) - num_failed, target)
  if plan.num_in_place:
    print(f'{plan.num_in_place} are there already')
  _exit(num_failed)


def _say_done(what: str, number: int, target: str) -> None:
  if flags.FLAGS.apply:
    print(f'{target}: {what} of {number} files done')
  else:
    print(f'{target}: {what} of {number} files; nothing is done, use --apply')


def _undo(path: pathlib.Path, words: list[str]) -> None:
  if flags.FLAGS.to is None:
    _undo_tags(path)
  else:
    _undo_organise(path)


def _undo_tags(path: pathlib.Path) -> None:
  with _for_change(path) as index:
    journal = TagJournal(path)
    if not any(journal.entries()):
      raise ConfigError(
        f'undo: tag changed no file of {path}; with --to=DIR, undo takes back '
        'what organise did'
      )
    counts = tagging.undo(index, journal, Journal(path), flags.FLAGS.apply)
  done = 'restored' if flags.FLAGS.apply else 'to be restored: use --apply'
  print(f'genre tags: {counts.restored} {done}, {counts.failed} left as is')
  _exit(counts.failed)


def _undo_organise(path: pathlib.Path) -> None:
  target = _target()
  with _for_change(path) as index:
    journal = Journal(path)
    records = journal.records(target)
    if not journal.knows(target):
      raise ConfigError(f'--to={target}: organise did nothing there')
    num_failed = 0
    if flags.FLAGS.apply:
      num_failed = organise.undo(index, journal, records)
    else:
      for record in records[::-1]:
        print(f'back {printable(record.to)} -> {printable(record.source)}')
  _say_done('undo', len(records) - num_failed, target)
  _exit(num_failed)


def _playlist(path: pathlib.Path, words: list[str]) -> None:
  with Index(path) as index:
    num_failed = 0
    for line in report.playlist(index, words[0], flags.FLAGS.min_probability):
      if isinstance(line, bytes):
        sys.stdout.buffer.write(line)
      else:
        num_failed += 1
        print(f'{printable(line.path)}: a line break in it', file=sys.stderr)
  sys.stdout.buffer.flush()
  _exit(num_failed)


def _tag(path: pathlib.Path, words: list[str]) -> None:
  with _for_change(path) as index:
    counts = tagging.tag(
      index,
      TagJournal(path),
      flags.FLAGS.min_probability,
      flags.FLAGS.replace,
      flags.FLAGS.apply,
    )
  done = 'tagged' if flags.FLAGS.apply else 'to be tagged: use --apply'
  print(
    f'{counts.tagged} {done}, {counts.kept} have a genre, '
    f'{counts.uncertain} uncertain, {counts.failed} failed'
  )
  _exit(counts.failed)


def _similar(path: pathlib.Path, words: list[str]) -> None:
  with Index(path) as index:
    found = similar.find_similar(
      index, words, flags.FLAGS.k, flags.FLAGS.diverse
    )
  for one in found:
    print(f'{one.cosine:.3f} {one.entry.genre}  {printable(one.entry.path)}')


COMMANDS = {
  'index': _index,
  'report': _report,
  'organise': _organise,
  'undo': _undo,
  'playlist': _playlist,
  'tag': _tag,
  'similar': _similar,
  'forget': _forget,
}
