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

from absl import flags

from mgc_jax.collection.journal import METHODS
from mgc_jax.collection.placing import LEVELS
from mgc_jax.evaluation.metrics import UNCERTAIN_UNDER
from mgc_jax.inference.pretrained import BEST
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.user_dirs import user_data_dir

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
  path = command_line.file_of('index') or user_data_dir() / 'collection.sqlite'
  from mgc_jax.collection import commands  # --help need not wait for them

  commands.COMMANDS[command](path, rest)


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
    'by', ['genre'], LEVELS, 'organise: folders above the tracks.'
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
  command_line.run(main, takes_words=True)
