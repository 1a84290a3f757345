"""Finds tracks and artists in two splits, and audio with two genres.

Example, for any manifest, published or your own:
  mgc leaks data/manifests/gtma_window.csv

With the audio, recordings that occur twice are found by their sound:
  mgc leaks /music/tracks.csv --root=/music
"""

import argparse
import collections
import dataclasses
import logging
import pathlib
import sys

import numpy as np

from mgc_jax.audio.names import comparable, known_artist
from mgc_jax.config.rules import SPLITS
from mgc_jax.datasets.csv_table import read_rows
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.published import facts
from mgc_jax.system.arguments import Command, Parser, real_number
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)

# The columns that identify a row, and how messages describe them.
_KEYS = {
  'track_id': 'tracks',
  'artist': 'artists',
  'sha256': 'identical audio',
  'replica_group': 'known replicas',
  'near_duplicate': 'near-duplicates',
}
# These identify a recording.
_AUDIO = ('track_id', 'sha256', 'replica_group', 'near_duplicate')
_KEPT_FIRST = ('test', 'valid', 'train')
_MAX_NAMED = 5  # leaks of one kind that a message lists


@dataclasses.dataclass(frozen=True)
class Leak:
  """A value that rows in two splits, or with two genres, share."""

  key: str  # one of `_KEYS`
  value: str
  apart: str  # the column in which the rows differ: split or genre
  rows: tuple[int, ...]  # all rows with this value

  def kind(self) -> str:
    """Returns a description that is the same for all leaks of a kind."""
    fault = 'in two splits' if self.apart == 'split' else 'with two genres'
    return f'{_KEYS[self.key]} {fault}'


def find_leaks(columns: dict[str, np.ndarray], protocol: str) -> list[Leak]:
  """Returns every value that leaks, in linear time.

  Args:
    columns: arrays str[n]: `track_id`, `genre`, `split` ('' for rows in no
      split), and optionally `artist`, `sha256` (of the decoded samples),
      `replica_group` and `near_duplicate` (the name of a group of recordings
      that sound the same). In these '' means unknown and equals no other.
    protocol: if `track`, artists may be in two splits.
  """
  found = []
  for apart in ('split', 'genre'):
    for key in _KEYS if apart == 'split' else _AUDIO:
      if key not in columns or (key == 'artist' and protocol == 'track'):
        continue
      rows_of: dict[str, list[int]] = collections.defaultdict(list)
      for row in np.flatnonzero(columns['split'] != ''):
        rows_of[str(columns[key][row])].append(int(row))
      rows_of.pop('', None)
      found += [
        Leak(key, value, apart, tuple(rows))
        for value, rows in sorted(rows_of.items())
        if len(rows) > 1 and len(set(columns[apart][rows])) > 1
      ]
  return found


def describe(leaks: list[Leak], columns: dict[str, np.ndarray]) -> str:
  """Returns lines with the number of leaks of each kind, and examples.

  Args:
    leaks: what `find_leaks` returned.
    columns: the argument of `find_leaks`.
  """
  of_kind: dict[str, list[Leak]] = collections.defaultdict(list)
  for leak in leaks:
    of_kind[leak.kind()].append(leak)
  lines = []
  for kind, found in of_kind.items():
    lines.append(f'{kind} ({len(found)}):')
    lines += [f'  {_pair(leak, columns)}' for leak in found[:_MAX_NAMED]]
    if len(found) > _MAX_NAMED:
      lines.append(f'  and {len(found) - _MAX_NAMED} more')
  return '\n'.join(lines)


def _pair(leak: Leak, columns: dict[str, np.ndarray]) -> str:
  """Describes two leaking rows, of different tracks if possible."""
  place, track_id = columns[leak.apart], columns['track_id']
  first = leak.rows[0]
  others = [row for row in leak.rows if place[row] != place[first]]
  other = next((r for r in others if track_id[r] != track_id[first]), others[0])
  named = ' = '.join(
    f'{track_id[row]} ({columns["genre"][row]}, {columns["split"][row]})'
    for row in (first, other)
  )
  return f'{leak.value}: {named}' if leak.key == 'artist' else named


def check(
  columns: dict[str, np.ndarray], protocol: str, on_leak: str
) -> np.ndarray:
  """Looks for leaks and handles them as `config.data.on_leak` says.

  Args:
    columns: the argument of `find_leaks`.
    protocol: how the splits were made. The window protocol leaks by design, so
      its leaks are only reported.
    on_leak: `stop` raises an error; `warn` only reports leaks; `drop` keeps
      shared rows in one split (test before valid before train), and drops audio
      with two genres everywhere.

  Returns:
    bool[n], the rows to keep.

  Raises:
    DataError: there are leaks, and `on_leak` is `stop`.
  """
  keep = np.full(len(columns['split']), True)
  leaks = find_leaks(columns, protocol)
  if not leaks:
    return keep
  text = describe(leaks, columns)
  if protocol == 'window' or on_leak == 'warn':
    _logger.warning('LEAK: protocol %s:\n%s', protocol, text)
    return keep
  if on_leak == 'stop':
    raise DataError(
      f'protocol {protocol} leaks:\n{text}\nCorrect the list, or drop these '
      'tracks with --config.data.on_leak=drop; '
      '--config.data.protocol=artist makes an artist-disjoint split'
    )
  for leak in leaks:
    keep[list(_rows_to_drop(leak, columns['split']))] = False
  dropped = set(
    zip(columns['track_id'][~keep], columns['split'][~keep], strict=True)
  )
  for row, place in enumerate(
    zip(columns['track_id'], columns['split'], strict=True)
  ):
    keep[row] &= place not in dropped
  _logger.warning('dropped because of leaks: %d tracks\n%s', len(dropped), text)
  return keep


def _rows_to_drop(leak: Leak, split: np.ndarray) -> list[int]:
  if leak.apart == 'genre':
    return list(leak.rows)
  shared_by = {split[row] for row in leak.rows}
  kept = next(name for name in _KEPT_FIRST if name in shared_by)
  return [row for row in leak.rows if split[row] != kept]


def replica_groups(track_ids: np.ndarray) -> np.ndarray:
  """Returns str[n], the group of known replicas of each track, or ''.

  Args:
    track_ids: str[n]; GTZAN's are `gtzan/<genre>.<number>`.
  """
  if not any('gtzan/' in track_id for track_id in track_ids):
    return np.full(len(track_ids), '')
  known = facts.replica_groups()
  return np.array(
    [known.get(f'gtzan/{t.rpartition("gtzan/")[2]}', '') for t in track_ids]
  )


def read_columns(manifest: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the columns of a manifest that can be checked without its audio.

  Args:
    manifest: a CSV with the columns `track_id, genre, split` and optionally
      `artist, sha256`; the windows of a track are rows with its `track_id`.

  Returns:
    The columns, str[n] each. Artists and genres are normalised, so different
    spellings of one name are equal.

  Raises:
    DataError: the manifest cannot be read, or lacks a required column.
  """
  rows = read_rows(manifest, ('track_id', 'genre', 'split'))
  if not rows:
    raise DataError(f'{manifest}: lists no tracks')
  forms = {'artist': known_artist, 'genre': comparable}
  columns = {}
  for name in ('track_id', 'genre', 'split', 'artist', 'sha256'):
    if name in rows[0][1]:
      form = forms.get(name, str)
      columns[name] = np.array([printable(form(row[name])) for _, row in rows])
  odd = set(columns['split']) - {*SPLITS, ''}
  if odd:
    raise DataError(
      f'{manifest}: split {min(odd)}: must be {", ".join(SPLITS)} or empty'
    )
  columns['replica_group'] = replica_groups(columns['track_id'])
  return columns


def _near_duplicates(
  manifest: pathlib.Path, root: str, frames_per_s: float, track_ids: np.ndarray
) -> np.ndarray:
  """Returns str[n], the group of tracks that sound the same as each, or ''."""
  from mgc_jax.datasets import near_duplicates

  features = near_duplicates.features(frames_per_s)
  groups = near_duplicates.groups_of_tracks(
    read_manifest(manifest, root), features
  )
  return np.array([printable(groups.get(t, '')) for t in track_ids])


def _run(args: argparse.Namespace) -> None:
  """Checks the given manifests; exits with 1 if one leaks."""
  leaky = False
  for word in args.manifests:
    manifest = pathlib.Path(word)
    columns = read_columns(manifest)
    if args.root:
      columns['near_duplicate'] = _near_duplicates(
        manifest, args.root, args.frames_per_s, columns['track_id']
      )
    leaks = find_leaks(columns, args.protocol)
    used = len(set(columns['track_id'][columns['split'] != '']))
    print(f'{word}: {used} tracks, {len(leaks)} leaks')
    print(describe(leaks, columns), end='\n' if leaks else '')
    leaky |= bool(leaks)
  if leaky:
    sys.exit(1)


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    'manifests', nargs='+', metavar='MANIFEST', help='A CSV file to check.'
  )
  parser.add_argument(
    '--protocol',
    choices=['given', 'artist', 'track', 'window'],
    default='given',
    help='Split to check for; with track, artists may be in two splits.',
  )
  parser.add_argument(
    '--root',
    metavar='DIR',
    help='Folder of the files in the column path. They are read, and '
    'recordings that occur twice are found by their sound.',
  )
  parser.add_argument(
    '--frames-per-s',
    type=real_number(0.1, 1000.0),
    default=12.9,
    metavar='RATE',
    help='Rate of the frames in .npy files, and of those computed from audio.',
  )


COMMAND = Command(__doc__, _add_arguments, _run)
