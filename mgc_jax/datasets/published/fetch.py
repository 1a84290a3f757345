"""Fetches GTZAN or FMA: downloads, checks, unpacks.

Where it was interrupted, the same command goes on; what is there is left alone.
The archive may be deleted afterwards. Both are for research; see data/README.md
for their terms.

Examples:
  python -m mgc_jax.datasets.published.fetch gtzan --to=/data
  python -m mgc_jax.datasets.published.fetch fma_metadata fma_medium --to=/data
"""

import logging
import pathlib

from absl import flags

from mgc_jax.datasets.published import facts
from mgc_jax.datasets.published.archives import unpack
from mgc_jax.datasets.published.download import Archive, download
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.lock import exclusive

_logger = logging.getLogger('mgc_jax.datasets.published.fetch')


def known_sets(table: pathlib.Path) -> dict[str, list[Archive]]:
  """Returns the sets that can be fetched; a later archive is another copy.

  Args:
    table: CSV with set, name, url, algorithm, digest, size_bytes. Lines of one
      set with one digest are mirrors.

  Raises:
    DataError: there is no such table, or it is no such table.
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
        int(row['size_bytes'] or 0),
      )
      found[row['set']] = [a for a in copies if a not in same] + [archive]
  except (LookupError, ValueError) as error:
    raise DataError(f'{table}: no table of archives ({error!r})') from error
  return found


def fetch(copies: list[Archive], name: str, to: pathlib.Path) -> pathlib.Path:
  """Returns the folder of a set, fetched where it is not there.

  Args:
    copies: of the set, tried in order.
    name: of the set, and of the folder.
    to: the folder in which that lies, and the archive beside it.

  Raises:
    DataError: no copy can be had, or it is damaged, or the disk is full. The
      folder is whole, or not there.
  """
  folder = to / name
  try:
    to.mkdir(parents=True, exist_ok=True)
    with exclusive(to / f'.{name}.lock', _say_that_it_waits):
      if folder.is_dir():
        _logger.info('%s: there already', folder)
        return folder
      archive = _download_one_of(copies, to)
      unpack(archive, folder, lift=True)
  except OSError as error:
    raise DataError(f'{to}: {error.strerror or error}') from error
  _logger.info('%s: complete; %s may be deleted', folder, archive)
  return folder


def _download_one_of(copies: list[Archive], to: pathlib.Path) -> pathlib.Path:
  reasons = []
  for archive in copies:
    try:
      return download(archive, to)
    except DataError as error:
      reasons.append(str(error))
  raise DataError(' '.join(reasons))


def _say_that_it_waits() -> None:
  _logger.info('another process fetches it; waiting')


def main(names: list[str]) -> None:
  """Fetches the sets that are named."""
  known = known_sets(pathlib.Path(flags.FLAGS.archives))
  unknown = [name for name in names if name not in known]
  if unknown or not names:
    raise ConfigError(
      f'{", ".join(unknown) or "no set"}: name one or several of '
      + ', '.join(sorted(known))
    )
  for name in names:
    print(fetch(known[name], name, pathlib.Path(flags.FLAGS.to)))


if __name__ == '__main__':
  flags.DEFINE_string('to', None, 'Folder that receives the sets.')
  flags.DEFINE_string(
    'archives', str(facts.path('archives.csv')), 'Table of all archives.'
  )
  flags.mark_flag_as_required('to')
  command_line.run(main, takes_words=True)
