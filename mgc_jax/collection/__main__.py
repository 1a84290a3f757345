r"""Keeps an index of a collection of music, sorts it, and finds similar songs.

COMMAND is one of:
  index DIR         listens to what is new or changed in a folder
  report            tracks and hours of each genre, and the least certain ones
  organise --to=DIR sorts the tracks into DIR/<genre>/...; --apply does it
  playlist GENRE    an M3U8 playlist on standard output
  tag               writes the genre tag where a file has none; --apply does it
  undo              restores the tags that tag replaced; --apply does it
  undo --to=DIR     takes back what organise did to DIR; --apply does it
  similar SONG...   the tracks nearest to a song, or to several
  forget DIR        removes a folder's tracks from the index, not from the disk

What would touch music says what it would do, and does it with --apply. The
index is one file; interrupted commands continue. Exit code 0: all done; 1: some
files could not be, each is named; 2: wrong usage.

If a folder is missing or empty, as when a disk is not mounted, index keeps its
tracks and says so. If the folder was renamed, index --moved OLD=NEW gives the
tracks their new paths without listening to them again; if it is gone for good,
use forget. A truncated or damaged file is answered from the part that plays,
with a warning; with --strict it is a failure. That applies to the files that
this run listens to.

Examples:
  python -m mgc_jax.collection index ~/Music
  python -m mgc_jax.collection report --plot=music.png
  python -m mgc_jax.collection organise --to=/sorted --copy --apply
  python -m mgc_jax.collection playlist jazz > jazz.m3u8
  python -m mgc_jax.collection similar song.mp3 -k 5 --diverse
  python -m mgc_jax.collection index --moved /mnt/old=/mnt/new
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator

from absl import flags

from mgc_jax import cli, figure_file
from mgc_jax.collection import organise, report, roots, similar, tagging
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import METHODS, Journal, TagJournal
from mgc_jax.collection.scan import scan
from mgc_jax.errors import ConfigError, DataError
from mgc_jax.lock import exclusive
from mgc_jax.metrics import UNCERTAIN_UNDER
from mgc_jax.names import printable
from mgc_jax.pretrained import BEST
from mgc_jax.runtime import user_data_dir

# The flags of each command; any other flag is wrong usage.
_FLAGS = {
  'index': ('model', 'moved', 'strict'),
  'report': ('plot', 'least'),
  'organise': ('to', 'by', *METHODS, 'min_probability', 'apply'),
  'undo': ('to', 'apply'),
  'playlist': ('min_probability',),
  'tag': ('replace', 'min_probability', 'apply'),
  'similar': ('k', 'diverse'),
  'forget': (),
}
# The commands that take one word, and what it is.
_WORD = {'index': 'a folder', 'playlist': 'a genre', 'forget': 'a folder'}


def main(words: list[str]) -> None:
  """Runs the command that comes first."""
  if not words or words[0] not in _FLAGS:
    given = f'{words[0]}: no command' if words else 'no command'
    raise ConfigError(f'{given}; one of {", ".join(_FLAGS)}')
  command, *rest = words
  _check_usage(command, rest)
  path = cli.file_of('index') or user_data_dir() / 'collection.sqlite'
  _COMMANDS[command](path, rest)


def _check_usage(command: str, rest: list[str]) -> None:
  for name in sorted({name for names in _FLAGS.values() for name in names}):
    if flags.FLAGS[name].present and name not in _FLAGS[command]:
      raise ConfigError(f'--{name}: not of the command {command}')
  if command == 'similar' or (flags.FLAGS.moved and not rest):
    return
  if len(rest) != (command in _WORD):
    raise ConfigError(
      f'{command}: takes {_WORD.get(command, "no words, only flags")}'
    )


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
  plot = cli.file_of('plot')
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


if __name__ == '__main__':
  flags.DEFINE_string(
    'index',
    None,
    'The file of the index. Default: collection.sqlite in the folder for '
    "mgc_jax's data, of this user.",
  )
  flags.DEFINE_string(
    'model',
    None,
    'index: cnn, lstm or crnn, the folder of a run, or an exported file. '
    f'Default: that of the index, {BEST} of a new one.',
  )
  flags.DEFINE_string(
    'moved',
    None,
    'index: OLD=NEW, a folder that was renamed. Its tracks get their new paths '
    'and keep their answers, in place of tracks that the index already has '
    'there; then NEW is indexed, and no other folder need be named.',
  )
  flags.DEFINE_bool(
    'strict',
    False,
    'index: a truncated or damaged file is a failure, not a warning.',
  )
  flags.DEFINE_string('plot', None, 'report: PNG of tracks by genre.')
  flags.DEFINE_integer(
    'least', 10, 'report: how many uncertain tracks are named.', 0
  )
  flags.DEFINE_string(
    'to',
    None,
    'organise: the folder to sort into. undo: the folder that was sorted into; '
    'without it, undo restores the tags that tag replaced.',
  )
  flags.DEFINE_multi_enum(
    'by', ['genre'], organise.LEVELS, 'organise: folders above the tracks.'
  )
  flags.DEFINE_bool('link', False, 'organise: symbolic links; the default.')
  flags.DEFINE_bool('copy', False, 'organise: copies.')
  flags.DEFINE_bool('move', False, 'organise: the files themselves.')
  flags.DEFINE_float(
    'min_probability',
    UNCERTAIN_UNDER,
    'organise: tracks under it go to the folder uncertain; playlist, tag: they '
    'are left out.',
    0.0,
    1.0,
  )
  flags.DEFINE_bool(
    'replace',
    False,
    'tag: also where there is a genre tag; undo restores all that it had.',
  )
  flags.DEFINE_bool('apply', False, 'organise, undo, tag: do it.')
  flags.DEFINE_integer('k', 10, 'similar: how many tracks are named.', 1)
  flags.DEFINE_bool('diverse', False, 'similar: each artist once.')
  cli.run(main, takes_words=True)
