r"""Keeps an index of a collection of music, sorts it, and finds similar songs.

Commands that change files only print the changes unless --apply is given. The
index is one file; interrupted commands continue. Exit code 0: success; 1: some
files failed and are reported; 2: wrong usage. A file that cannot be decoded
does not make index fail unless --strict is given: it is reported, remembered,
and not read again until it changes.

If a folder is missing or empty, as when a disk is not mounted, index keeps its
tracks and reports it. If the folder was renamed, index --moved OLD=NEW gives
the tracks their new paths without classifying them again; if it was deleted,
use forget. For a damaged file the part that can be decoded is used, with a
warning; with --strict it fails. Unchanged files are not classified again, so
--strict does not apply to them.

Examples:
  mgc collection index ~/Music
  mgc collection report --plot=music.png
  mgc collection organise --to=/sorted --copy --apply
  mgc collection playlist jazz --to=jazz.m3u8
  mgc collection similar song.mp3 -k 5 --diverse
  mgc collection index --moved /mnt/old=/mnt/new
"""

import argparse
from collections.abc import Callable

from mgc_jax.collection.companions import KINDS
from mgc_jax.collection.journal import METHODS, TAG_FIELDS
from mgc_jax.collection.placing import LEVELS
from mgc_jax.evaluation.metrics import RELIABLE_FROM, UNCERTAIN_UNDER
from mgc_jax.inference import cluster_flags, engines
from mgc_jax.inference.pretrained import BEST
from mgc_jax.system import command_line
from mgc_jax.system.arguments import (
  CONTINUES,
  STARTS_AGAIN,
  Command,
  Parser,
  comma_list_of,
  real_number,
  whole_number,
)


def _add_index(parser: Parser) -> None:
  parser.add_argument(
    'folders',
    nargs='*',
    metavar='DIR',
    help='The folders to index; with --moved, additional ones.',
  )
  parser.add_argument(
    '--model',
    help='tags, cnn, lstm or crnn, the folder of a run, or an exported file. '
    f'Default: that of the index, {BEST} of a new one.',
  )
  engines.add_flag(parser)
  cluster_flags.add_flags(parser, 'beside the index')
  parser.add_argument(
    '--moved',
    metavar='OLD=NEW',
    help='A folder that was renamed. Its tracks get their new paths and keep '
    'their predictions; they replace tracks that the index already has there. '
    'Then NEW is indexed. DIR may be omitted.',
  )
  parser.add_argument(
    '--strict',
    action='store_true',
    help='A truncated or damaged file is a failure, not a warning; and if any '
    'file failed, the exit code is 1.',
  )
  parser.add_argument(
    '--retry',
    action='store_true',
    help='Also read files again that failed before and have not changed.',
  )
  parser.add_argument(
    '--watch',
    action='store_true',
    help='Then go on, and index files as they are added, changed or deleted, '
    "until Ctrl-C. Needs pip install 'mgc_jax[watch]'.",
  )


def _add_report(parser: Parser) -> None:
  parser.add_argument('--plot', metavar='FILE', help='PNG of tracks by genre.')
  parser.add_argument(
    '--least',
    type=whole_number(0),
    default=10,
    metavar='N',
    help='How many uncertain tracks to list.',
  )
  _add_format(
    parser,
    'json: one object; csv: a row per genre; m3u8: a playlist of the uncertain '
    'tracks.',
  )


def _add_organise(parser: Parser) -> None:
  parser.add_argument(
    '--to', required=True, metavar='DIR', help='The folder to sort into.'
  )
  parser.add_argument(
    '--by',
    action='extend',
    type=comma_list_of(LEVELS),
    metavar='LEVELS',
    help='Folder levels to create: genre, artist, or genre,artist for nested '
    'folders. Default: genre.',
  )
  parser.add_argument(
    '--with',
    dest='companions',
    action='extend',
    default=[],
    type=comma_list_of(tuple(KINDS)),
    metavar='KINDS',
    help='Files in the folder of an album that go with its tracks, if all of '
    'these go to one folder: cover (images), cue, lrc, m3u, or several, such '
    'as cover,cue.',
  )
  how = {
    'link': 'Create symbolic links; the default.',
    'copy': 'Copy the files.',
    'move': 'Move the files.',
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
  _add_min_probability(parser, 'Tracks below it go to the folder uncertain.')
  _add_apply(parser)


def _add_playlist(parser: Parser) -> None:
  parser.add_argument(
    'genres', nargs='*', metavar='GENRE', help='The genres of the tracks.'
  )
  parser.add_argument(
    '--like',
    nargs='+',
    default=[],
    metavar='SONG',
    help='The tracks most similar to one or more songs, of the genres if there '
    'are any, in place of all tracks of the genres.',
  )
  _add_k(parser, 'How many similar tracks to find.')
  parser.add_argument(
    '--to',
    metavar='FILE',
    help='The playlist to write. Paths are relative to its folder, if that is '
    'in or above the music. Default: standard output, with absolute paths.',
  )
  parser.add_argument(
    '--absolute', action='store_true', help='Write absolute paths.'
  )
  _add_min_probability(parser, 'Tracks of the genres below it are skipped.')


def _add_tag(parser: Parser) -> None:
  parser.add_argument(
    '--field',
    choices=TAG_FIELDS,
    default=TAG_FIELDS[0],
    help='The tag to write the genre to. Default: genre.',
  )
  parser.add_argument(
    '--replace',
    action='store_true',
    help='Also replace what files already have there; undo restores it.',
  )
  parser.add_argument(
    '--map',
    action='append',
    default=[],
    metavar='GENRE=NAME',
    help='How a genre is written, such as hiphop=Hip-Hop; or a text file of '
    'such lines. May be repeated. Default: the spelling that most tags of the '
    'collection have.',
  )
  _add_min_probability(
    parser,
    'Tracks below it are skipped. On a collection that was left out of the '
    'training of the model tags, 29 of 32 predictions from there on were '
    'right.',
    RELIABLE_FROM,
  )
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
  _add_k(parser, 'How many tracks to list.')
  parser.add_argument(
    '--diverse', action='store_true', help='At most one track per artist.'
  )
  _add_format(
    parser, 'json: an object per line; csv: a row per track; m3u8: a playlist.'
  )


def _add_forget(parser: Parser) -> None:
  parser.add_argument(
    'folder', metavar='DIR', help='The folder whose tracks are removed.'
  )


def _add_format(parser: Parser, text: str) -> None:
  parser.add_argument(
    '--format',
    choices=['text', 'json', 'csv', 'm3u8'],
    default='text',
    help=f'text: readable; {text}',
  )


def _add_k(parser: Parser, text: str) -> None:
  parser.add_argument(
    '-k', '--k', type=whole_number(1), default=10, metavar='N', help=text
  )


def _add_min_probability(
  parser: Parser, text: str, default: float = UNCERTAIN_UNDER
) -> None:
  parser.add_argument(
    '--min_probability',
    type=real_number(0, 1),
    default=default,
    metavar='P',
    help=text,
  )


def _add_apply(parser: Parser) -> None:
  parser.add_argument('--apply', action='store_true', help='Make the changes.')


_CHANGING = ('index', 'organise', 'tag', 'undo')  # with a journal
# Each with its flags, what it does, and an example.
_COMMANDS = {
  'index': (
    _add_index,
    'classifies new and changed files in folders',
    'index ~/Music',
  ),
  'report': (
    _add_report,
    'lists tracks and hours per genre, and the most uncertain tracks',
    'report --plot=music.png',
  ),
  'organise': (
    _add_organise,
    'sorts the tracks into DIR/<genre>/...; needs --apply',
    'organise --to=/sorted --copy --apply',
  ),
  'playlist': (
    _add_playlist,
    'writes an M3U8 playlist of genres, or of songs like others',
    'playlist jazz blues --to=jazz.m3u8',
  ),
  'tag': (
    _add_tag,
    'writes genres to the tags of files that have none; needs --apply',
    'tag --apply',
  ),
  'undo': (
    _add_undo,
    'restores the tags that tag replaced, or with --to=DIR reverses organise; '
    'needs --apply',
    'undo --to=/sorted --apply',
  ),
  'similar': (
    _add_similar,
    'lists the tracks most similar to one or more songs',
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
      # A default must not replace a value given before the command.
      _add_index_file(parser, argparse.SUPPRESS)

    full = (
      f'{text[0].upper()}{text[1:]}.\n\nExample:\n  mgc collection {example}'
    )
    after = CONTINUES if name in _CHANGING else STARTS_AGAIN
    Command(full, fill, _run, after).fill(one)


def _add_index_file(parser: Parser, default: str | None) -> None:
  parser.add_argument(
    '--index',
    default=default,
    metavar='FILE',
    help='The file of the index. Default: collection.sqlite in the '
    "user's data folder of mgc_jax.",
  )


def _run(args: argparse.Namespace) -> None:
  from mgc_jax.collection import commands  # not needed for --help

  commands.run(args)


COMMAND = Command(__doc__, _add_commands)

if __name__ == '__main__':
  command_line.run(COMMAND, 'python -m mgc_jax.collection')
