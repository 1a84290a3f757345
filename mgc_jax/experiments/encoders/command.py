"""Builds the encoder that comes with the package, or converts its taggrams.

Examples:
  mgc encoders build musicnn
  mgc encoders convert-taggrams $DATA/gtzan_taggram --to=runs/gtzan_tags
"""

import argparse
import pathlib
import tempfile

from mgc_jax.system.arguments import Command, Parser


def _build(args: argparse.Namespace) -> None:
  """Downloads and converts the encoder."""
  from mgc_jax.experiments.encoders import musicnn_checkpoint
  from mgc_jax.features import encoder

  folder = pathlib.Path(args.to or encoder.FOLDER)
  with tempfile.TemporaryDirectory() as temporary:
    wheel = args.wheel or musicnn_checkpoint.download(pathlib.Path(temporary))
    musicnn_checkpoint.convert(pathlib.Path(wheel), folder)
  print(folder)


def _add_build(parser: Parser) -> None:
  parser.add_argument('name', choices=['musicnn'], help='Which encoder.')
  parser.add_argument(
    '--wheel', metavar='FILE', help='The wheel, if it was downloaded already.'
  )
  parser.add_argument(
    '--to',
    metavar='DIR',
    help='Folder of the converted files. Default: their place in the package.',
  )


def _convert_taggrams(args: argparse.Namespace) -> None:
  """Converts published taggrams."""
  from mgc_jax.experiments.encoders import taggrams

  number = taggrams.convert(pathlib.Path(args.source), pathlib.Path(args.to))
  print(f'{number} tracks: {args.to}/manifest.csv')


def _add_convert_taggrams(parser: Parser) -> None:
  parser.add_argument(
    'source', metavar='DIR', help='Folder of taggrams.npy and manifest.csv.'
  )
  parser.add_argument(
    '--to', required=True, metavar='DIR', help='Folder to write to.'
  )


_COMMANDS = {
  'build': Command(
    """Downloads musicnn from PyPI, verifies it and converts its checkpoint.

Example:
  mgc encoders build musicnn
""",
    _add_build,
    _build,
  ),
  'convert-taggrams': Command(
    """Converts taggrams, which musicnn computed, to frames and a manifest.

Example:
  mgc encoders convert-taggrams $DATA/gtzan_taggram --to=runs/gtzan_tags
""",
    _add_convert_taggrams,
    _convert_taggrams,
  ),
}


def _add_commands(parser: Parser) -> None:
  commands = parser.add_commands()
  for name, command in _COMMANDS.items():
    text = (command.text or '').partition('\n')[0]
    command.fill(commands.add_parser(name, help=text))


COMMAND = Command(__doc__, _add_commands)
