r"""Keeps an index of a collection of music, sorts it, and finds similar songs.

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
  mgc collection index ~/Music
  mgc collection report --plot=music.png
  mgc collection organise --to=/sorted --copy --apply
  mgc collection playlist jazz > jazz.m3u8
  mgc collection similar song.mp3 -k 5 --diverse
  mgc collection index --moved /mnt/old=/mnt/new
"""

import argparse
from collections.abc import Callable

from mgc_jax.collection.journal import METHODS
from mgc_jax.collection.placing import LEVELS
from mgc_jax.evaluation.metrics import UNCERTAIN_UNDER
from mgc_jax.inference.pretrained import BEST
from mgc_jax.system import command_line
from mgc_jax.system.arguments import Command, Parser, real_number, whole_number


def _add_index(parser: Parser) -> None:
  parser.add_argument(
    'folder',
    nargs='?',
    metavar='DIR',
    help='The folder to index; with --moved, one more.',
  )
  parser.add_argument(
    '--model',
    help='cnn, lstm or crnn, the folder of a run, or an exported file. '
    f'Default: that of the index, {BEST} of a new one.',
  )
  parser.add_argument(
    '--moved',
    metavar='OLD=NEW',
    help='A folder that was renamed. Its tracks get their new paths and keep '
    'their answers, in place of tracks that the index already has there; then '
    'NEW is indexed, and no other folder need be named.',
  )
  parser.add_argument(
    '--strict',
    action='store_true',
    help='A truncated or damaged file is a failure, not a warning.',
  )


def _add_report(parser: Parser) -> None:
  parser.add_argument('--plot', metavar='FILE', help='PNG of tracks by genre.')
  parser.add_argument(
    '--least',
    type=whole_number(0),
    default=10,
    metavar='N',
    help='How many uncertain tracks are named.',
  )


def _add_organise(parser: Parser) -> None:
  parser.add_argument(
    '--to', required=True, metavar='DIR', help='The folder to sort into.'
  )
  parser.add_argument(
    '--by',
    action='append',
    choices=LEVELS,
    help='A folder above the tracks; given again, one more in it. Default: '
    'genre.',
  )
  how = {
    'link': 'Symbolic links; the default.',
    'copy': 'Copies.',
    'move': 'The files themselves.',
  }
  method = parser.add_mutually_exclusive_group()
  for name in METHODS:
    method.add_argument(
      f'--{name}',
      dest='method',
      action='store_const',
      const=name,
      help=how[name],
    )
  _add_min_probability(parser, 'Tracks under it go to the folder uncertain.')
  _add_apply(parser)


def _add_playlist(parser: Parser) -> None:
  parser.add_argument('genre', metavar='GENRE', help='The genre of the tracks.')
  _add_min_probability(parser, 'Tracks under it are left out.')


def _add_tag(parser: Parser) -> None:
  parser.add_argument(
    '--replace',
    action='store_true',
    help='Also where there is a genre tag; undo restores all that it had.',
  )
  _add_min_probability(parser, 'Tracks under it are left out.')
  _add_apply(parser)


def _add_undo(parser: Parser) -> None:
  parser.add_argument(
    '--to',
    metavar='DIR',
    help='The folder that organise sorted into; without it, undo restores the '
    'tags that tag replaced.',
  )
  _add_apply(parser)


def _add_similar(parser: Parser) -> None:
  parser.add_argument(
    'songs', nargs='+', metavar='SONG', help='One song, or several.'
  )
  parser.add_argument(
    '-k',
    '--k',
    type=whole_number(1),
    default=10,
    metavar='N',
    help='How many tracks are named.',
  )
  parser.add_argument(
    '--diverse', action='store_true', help='Each artist once.'
  )


def _add_forget(parser: Parser) -> None:
  parser.add_argument(
    'folder', metavar='DIR', help='The folder whose tracks are removed.'
  )


def _add_min_probability(parser: Parser, text: str) -> None:
  parser.add_argument(
    '--min_probability',
    type=real_number(0, 1),
    default=UNCERTAIN_UNDER,
    metavar='P',
    help=text,
  )


def _add_apply(parser: Parser) -> None:
  parser.add_argument('--apply', action='store_true', help='Do it.')


# Each with its flags, what it does, and an example.
_COMMANDS = {
  'index': (
    _add_index,
    'listens to what is new or changed in a folder',
    'index ~/Music',
  ),
  'report': (
    _add_report,
    'tracks and hours of each genre, and the least certain ones',
    'report --plot=music.png',
  ),
  'organise': (
    _add_organise,
    'sorts the tracks into DIR/<genre>/...; --apply does it',
    'organise --to=/sorted --copy --apply',
  ),
  'playlist': (
    _add_playlist,
    'an M3U8 playlist on standard output',
    'playlist jazz > jazz.m3u8',
  ),
  'tag': (
    _add_tag,
    'writes the genre tag where a file has none; --apply does it',
    'tag --apply',
  ),
  'undo': (
    _add_undo,
    'restores the tags that tag replaced, or with --to=DIR takes back what '
    'organise did to DIR; --apply does it',
    'undo --to=/sorted --apply',
  ),
  'similar': (
    _add_similar,
    'the tracks nearest to a song, or to several',
    'similar song.mp3 -k 5 --diverse',
  ),
  'forget': (
    _add_forget,
    "removes a folder's tracks from the index, not from the disk",
    'forget ~/Music/old',
  ),
}


def _add_commands(parser: Parser) -> None:
  _add_index_file(parser, None)
  commands = parser.add_commands()
  for name, (add_arguments, text, example) in _COMMANDS.items():
    one = commands.add_parser(name, help=text)

    def fill(parser: Parser, add: Callable = add_arguments) -> None:
      add(parser)
      # What stands before the command is not to be replaced by a default.
      _add_index_file(parser, argparse.SUPPRESS)

    full = (
      f'{text[0].upper()}{text[1:]}.\n\nExample:\n  mgc collection {example}'
    )
    Command(full, fill, _run).fill(one)


def _add_index_file(parser: Parser, default: str | None) -> None:
  parser.add_argument(
    '--index',
    default=default,
    metavar='FILE',
    help='The file of the index. Default: collection.sqlite in the folder for '
    "mgc_jax's data, of this user.",
  )


def _run(args: argparse.Namespace) -> None:
  from mgc_jax.collection import commands  # --help need not wait for them

  commands.run(args)


COMMAND = Command(__doc__, _add_commands)

if __name__ == '__main__':
  command_line.run(COMMAND, 'python -m mgc_jax.collection')
