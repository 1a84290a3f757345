r"""Checks the files of a source against the list of its tracks.

Every file is decoded to its end. Missing and unreadable files, and those with
an unexpected length or digest, are listed, and the exit code is 1. Additional
files are not an error, because training does not use them.

Examples:
  mgc verify --config=configs/crnn.py \
    --config.data.source=gtzan --config.data.root=/data/gtzan
  mgc verify --config=configs/crnn.py \
    --config.data.source=manifest --config.data.manifest=/music/tracks.csv
"""

import argparse
import collections
import dataclasses
import hashlib
import os
import sys

import numpy as np

from mgc_jax.audio import decode
from mgc_jax.audio.files import audio_files
from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import (
  Config,
  DataConfig,
  FeaturesConfig,
  frame_rate_hz,
)
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.remote import local_copy
from mgc_jax.datasets.sources import list_tracks
from mgc_jax.datasets.sources.manifest import manifest_paths
from mgc_jax.datasets.track import Track
from mgc_jax.datasets.workers import map_tracks
from mgc_jax.system.arguments import Command, Parser
from mgc_jax.system.errors import ConfigError, DataError, RemoteError
from mgc_jax.system.printable_text import printable
from mgc_jax.system.tables import table

_TOLERANCE_S = 1.0  # the length of clips of 30 s varies a little
_BLOCK_BYTES = 1 << 20
_MAX_EXTRA = 50  # additional files that are listed
_MISSING = 'no such file'
FAULTS = ('missing', 'unreadable', 'damaged', 'wrong length', 'wrong digest')
# The kinds of `Track.problem`, by prefix; any other one is `unreadable`.
_PROBLEMS = {'missing': 'missing', 'known to be': 'known fault'}
_KINDS = ('whole', 'known fault', *FAULTS, 'extra')


def check_track(track: Track, features: FeaturesConfig) -> tuple[str, str]:
  """Checks the file of a track.

  Args:
    track: its `duration_s` and `digest` are compared if they are known.
    features: `config.features`, needed for precomputed frames.

  Returns:
    The result: `whole`, `known fault` (never opened), or one of `FAULTS`; and
    its reason.
  """
  if track.problem:
    kinds = (
      k for start, k in _PROBLEMS.items() if track.problem.startswith(start)
    )
    return next(kinds, 'unreadable'), track.problem
  warning = ''
  try:
    with local_copy(track.path) as path:
      if not os.path.exists(path):
        raise DataError(_MISSING)
      if path.endswith('.npy'):
        excerpts_of(dataclasses.replace(track, path=path), features, 0.0)
        frames = np.load(path, mmap_mode='r', allow_pickle=False)
        duration_s = len(frames) / frame_rate_hz(features)
      else:
        outcome = decode.decoded(path)
        duration_s, warning = outcome.duration_s, outcome.warning
      digest = _digest(path, track.digest)
  except (DataError, OSError, RemoteError) as error:
    return ('missing' if str(error) == _MISSING else 'unreadable'), str(error)
  if warning:
    return 'damaged', warning
  if track.duration_s and abs(duration_s - track.duration_s) > _TOLERANCE_S:
    return 'wrong length', f'{duration_s:.1f} s, not {track.duration_s:.1f} s'
  if digest != track.digest:
    return 'wrong digest', f'{digest}, not {track.digest}'
  return 'whole', ''


def extra_files(tracks: list[Track], data: DataConfig) -> list[str]:
  """Returns audio files in the folders of a source that it does not list.

  Args:
    tracks: the tracks that the source lists.
    data: `config.data`, which names its folders.
  """
  known = {os.path.realpath(track.path) for track in tracks}
  roots = [data.root, data.gtzan_root, data.fma_root]
  if data.source == 'manifest' and not data.root:
    roots += [str(path.parent) for path in manifest_paths(data)]
  found = []
  for root in filter(None, roots):
    found += [
      path for path in audio_files(root) if os.path.realpath(path) not in known
    ]
  return sorted(set(found))


def _digest(path: str, expected: str) -> str:
  """Returns `<algorithm>:<hexadecimal>` of a file; '' if none is expected."""
  if not expected:
    return ''
  algorithm = expected.partition(':')[0]
  digest = hashlib.new(algorithm, usedforsecurity=False)
  with open(path, 'rb') as file:
    while block := file.read(_BLOCK_BYTES):
      digest.update(block)
  return f'{algorithm}:{digest.hexdigest()}'


def _run(args: argparse.Namespace) -> None:
  """Prints the table and every fault; exits with 1 where there is one."""
  config = Config.from_dict(load_config(args.config, args.overrides))
  if config.data.source == 'synthetic':
    raise ConfigError('config.data.source=synthetic: has no files to verify')
  tracks = list_tracks(config.data)
  counts: collections.Counter = collections.Counter()
  lines = []
  for track, (kind, reason) in map_tracks(
    check_track, tracks, (config.features,), config.data.num_workers, 'verify'
  ):
    counts[kind] += 1
    if kind != 'whole':
      lines.append(f'{kind}: {printable(track.path)}: {reason}')
  extra = extra_files(tracks, config.data)
  counts['extra'] = len(extra)
  lines += [f'extra: {printable(path)}' for path in extra[:_MAX_EXTRA]]
  if len(extra) > _MAX_EXTRA:
    lines.append(f'extra: {len(extra) - _MAX_EXTRA} more')
  print('\n'.join(lines))
  rows = [[kind, counts[kind]] for kind in _KINDS]
  print('\n'.join(table([f'{len(tracks)} tracks listed', 'files'], rows)))
  if any(counts[kind] for kind in FAULTS):
    sys.exit(1)


COMMAND = Command(__doc__, Parser.add_config, _run)
