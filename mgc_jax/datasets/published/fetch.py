"""Fetches GTZAN or FMA: downloads, verifies and unpacks them.

After an interruption the same command resumes; an existing folder is not
changed. The archive may be deleted afterwards. Both sets are for research; see
data/README.md for their terms.

Examples:
  mgc fetch gtzan --to=/data
  mgc fetch fma_metadata fma_medium --to=/data
"""

import argparse
import logging
import pathlib

from mgc_jax.datasets.published import facts
from mgc_jax.datasets.published.archives import unpack
from mgc_jax.datasets.published.download import Archive, download
from mgc_jax.system.arguments import CONTINUES, Command, Parser
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.lock import exclusive
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)


def known_sets(table: pathlib.Path) -> dict[str, list[Archive]]:
  """Returns the sets that can be fetched, each with its alternative archives.

  Args:
    table: a CSV with the columns set, name, url, algorithm, digest and
      size_bytes. Rows with the same set and digest are mirrors.

  Raises:
    DataError: the table is missing or invalid.
  """
  found: dict[str, list[Archive]] = {}
  try:
    for row in facts.read_facts(table):
      copies = found.setdefault(row['set'], [])
      same = [a for a in copies if a.digest == row['digest']]
      urls = same[0].mirrors if same else ()
      archive = Archive(
        row['name'],
        (*urls, row['url']),
        row['algorithm'],
        row['digest'],
        _size_bytes(row['size_bytes']),
      )
      found[row['set']] = [a for a in copies if a not in same] + [archive]
  except KeyError as error:
    raise DataError(f'{table}: has no column {error.args[0]}') from error
  except ValueError as error:
    raise DataError(f'{table}: {error}') from error
  return found


def _size_bytes(text: str) -> int:
  """Returns the number in a cell; 0 if it is empty."""
  if text and not text.isdecimal():
    raise ValueError(f'size_bytes is {printable(text)}: must be a number')
  return int(text or 0)


def fetch(copies: list[Archive], name: str, to: pathlib.Path) -> pathlib.Path:
  """Returns the folder of a set, and fetches it first if it is missing.

  Args:
    copies: alternative archives of the set, tried in order.
    name: the name of the set, and of its folder.
    to: where the folder is created, and where the archive is saved.

  Raises:
    DataError: no archive can be downloaded, it is damaged, or the disk is full.
      The folder is then not created.
  """
  folder = to / name
  try:
    to.mkdir(parents=True, exist_ok=True)
    with exclusive(to / f'.{name}.lock', _log_waiting):
      if folder.is_dir():
        _logger.info('%s: exists already', folder)
        return folder
      archive = _download_any(copies, to)
      unpack(archive, folder, lift=True)
  except OSError as error:
    raise DataError(f'{to}: {error.strerror or error}') from error
  _logger.info('%s: complete; %s may be deleted', folder, archive)
  return folder


def _download_any(copies: list[Archive], to: pathlib.Path) -> pathlib.Path:
  """Returns the first archive that can be downloaded."""
  reasons = []
  for archive in copies:
    try:
      return download(archive, to)
    except DataError as error:
      reasons.append(str(error))
  raise DataError(' '.join(reasons))


def _log_waiting() -> None:
  _logger.info('another process is fetching this set; waiting')


def _run(args: argparse.Namespace) -> None:
  """Fetches the specified sets."""
  known = known_sets(pathlib.Path(args.archives))
  unknown = [name for name in args.sets if name not in known]
  if unknown or not args.sets:
    raise ConfigError(
      f'{", ".join(unknown) or "no set"}: must be one or more of '
      + ', '.join(sorted(known))
    )
  for name in args.sets:
    print(fetch(known[name], name, pathlib.Path(args.to)))


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    'sets', nargs='*', metavar='SET', help='The name of a set.'
  )
  parser.add_argument(
    '--to', required=True, metavar='DIR', help='Folder that receives the sets.'
  )
  parser.add_argument(
    '--archives',
    default=str(facts.path('archives.csv')),
    metavar='FILE',
    help='Table of all archives.',
  )


COMMAND = Command(__doc__, _add_arguments, _run, CONTINUES)
