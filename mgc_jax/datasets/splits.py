"""Divides excerpts into train, valid and test, by a configurable protocol.

Splits are computed from the index, given and published ones from the tracks of
the source. They are deterministic in `config.data`, and changing the protocol
decodes nothing.
"""

import dataclasses
import hashlib
import logging

import numpy as np

from mgc_jax.config.rules import SPLITS
from mgc_jax.config.schema import Config, DataConfig, WindowsConfig
from mgc_jax.datasets import leaks, near_duplicates
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.grouping import assign_groups, merged_groups
from mgc_jax.datasets.records import Prepared
from mgc_jax.datasets.sources import PUBLISHED
from mgc_jax.system.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

_ADVICE = (
  '. Add tracks by other artists, or set config.data.protocol=track, which '
  'overestimates the accuracy on artists that are not in the training data'
)


@dataclasses.dataclass(frozen=True)
class Examples:
  """The examples of one split, which are whole excerpts or windows."""

  rows: np.ndarray  # i64[n], rows of the index
  starts: np.ndarray  # i64[n], first frame of the example in its excerpt
  num_frames: np.ndarray  # i64[n]

  def __len__(self) -> int:
    """Returns the number of examples."""
    return len(self.rows)

  def take(self, chosen: np.ndarray) -> 'Examples':
    """Returns a subset, selected by a bool[n] mask or by indices."""
    return Examples(
      self.rows[chosen], self.starts[chosen], self.num_frames[chosen]
    )


@dataclasses.dataclass(frozen=True)
class Splits:
  """The examples of each split; a split may be empty."""

  protocol: str
  examples: dict[str, Examples]  # keys: train, valid, test

  def eval_examples(self, eval_split: str | None) -> tuple[str, Examples]:
    """Returns the names and the combined examples of the evaluated splits.

    Args:
      eval_split: `config.data.eval_split`, validated: one or several splits,
        or None for test if it has examples, otherwise valid.

    Raises:
      DataError: there is nothing to evaluate.
    """
    if not eval_split:
      eval_split = 'test' if len(self.examples['test']) else 'valid'
    chosen = [self.examples[name] for name in eval_split.split(',')]
    if not sum(map(len, chosen)):
      raise DataError(
        f'config.data.eval_split={eval_split}: has no tracks; present: '
        + ', '.join(f'{k} {len(v)}' for k, v in self.examples.items())
        + self._advice()
      )
    fields = [f.name for f in dataclasses.fields(Examples)]
    return eval_split, Examples(
      *(np.concatenate([getattr(e, f) for e in chosen]) for f in fields)
    )

  def _advice(self) -> str:
    if self.protocol != 'artist':
      return ''
    return f'. All tracks of an artist stay in one split{_ADVICE}'

  def fingerprint(self, index: ExcerptIndex) -> str:
    """Returns a hash of each example's audio, genre, position and split."""
    digest = hashlib.sha256()
    for split, examples in self.examples.items():
      for row, start, length in zip(
        examples.rows, examples.starts, examples.num_frames, strict=True
      ):
        genre = index.genres[index.label[row]]
        fact = (index.excerpt_id[row], index.sha256[row], genre, start, length)
        line = '\t'.join([*map(str, fact), split])
        digest.update(f'{line}\n'.encode())
    return digest.hexdigest()[:16]


def make_splits(prepared: Prepared, config: Config) -> Splits:
  """Divides the prepared excerpts by `config.data.protocol`.

  Args:
    prepared: the records and their tracks.
    config: `data`, and where examples are windows `windows`.

  Returns:
    The splits, checked for leaks.

  Raises:
    ConfigError: the protocol does not fit the source, or there are more folds
      than groups.
    DataError: the splits leak, or some audio has two genres, and
      `config.data.on_leak` is `stop`.
  """
  index, data = prepared.index, config.data
  given = np.array([prepared.tracks[t].split for t in index.track_id])
  protocol = data.protocol or _default_protocol(given, data)
  same_sound = np.full(len(index), '')
  if data.near_duplicates:
    same_sound = near_duplicates.groups_of_records(index)
  # Each published list has the name of its protocol.
  published = protocol in PUBLISHED.get(data.source, ())
  published = published and not (data.num_folds or data.test_source)
  if data.source == 'gtma' and data.num_folds and protocol == 'artist':
    raise ConfigError(
      f"config.data.num_folds={data.num_folds}: gtma's list lacks the artists "
      'of FMA, so its folds would share artists; set it to 0'
    )
  if protocol == 'window':
    splits = _window_split(prepared, data, config.windows, published)
  else:
    if protocol == 'given' or published:
      split = given
      unused = len(set(index.track_id[given == '']))
      if unused:
        _logger.warning('%d tracks have no split and are not used', unused)
      if not (given != '').any():
        raise ConfigError(
          'config.data.protocol=given: the source has no splits; use artist'
        )
    else:
      split = _grouped(prepared, same_sound, protocol, data)
    examples = {name: _excerpts(index, split == name) for name in SPLITS}
    if data.examples == 'window':
      examples = {
        k: _windows_of(v, config.windows) for k, v in examples.items()
      }
    splits = Splits(protocol, examples)
  return _checked(splits, index, same_sound, data)


def own_genres(prepared: Prepared) -> np.ndarray:
  """Returns bool[n, C], the genres that each excerpt's collection has.

  Args:
    prepared: the records, and their tracks, which name their collections.
  """
  index = prepared.index
  sources = [prepared.tracks[t].source for t in index.track_id]
  names, collection = np.unique(sources, return_inverse=True)
  present = np.zeros((len(names), len(index.genres)), bool)
  present[collection, index.label] = True
  return present[collection]


def _default_protocol(given: np.ndarray, data: DataConfig) -> str:
  if data.source in PUBLISHED or data.num_folds or data.test_source:
    return 'artist'
  return 'given' if (given != '').any() else 'artist'


def _excerpts(index: ExcerptIndex, chosen: np.ndarray) -> Examples:
  rows = np.flatnonzero(chosen)
  return Examples(rows, np.zeros_like(rows), index.num_frames[rows])


def _grouped(
  prepared: Prepared, same_sound: np.ndarray, protocol: str, data: DataConfig
) -> np.ndarray:
  """Returns str[n], the split of each excerpt; never divides a group.

  With `test_source`, it is empty for excerpts that share a group with that
  collection but are not of it.
  """
  index = prepared.index
  replicas = leaks.replica_groups(index.track_id)
  keys = [index.track_id, index.sha256, replicas, same_sound]
  if protocol == 'artist':
    keys.append(index.artist)
  groups = merged_groups(keys)
  tracks, first = np.unique(index.track_id, return_index=True)
  counts = np.zeros((groups.max() + 1, len(index.genres)), int)
  np.add.at(counts, (groups[first], index.label[first]), 1)
  is_in_source = np.full(len(index), True)
  if data.test_source:
    is_in_source = _is_in_source(prepared, data.test_source)
    held_out = np.isin(np.arange(len(counts)), groups[is_in_source])
    valid = data.valid_fraction
    rng = np.random.default_rng([data.split_seed, 0])
    split = np.full(len(counts), SPLITS.index('test'))
    split[~held_out] = assign_groups(counts[~held_out], [1 - valid, valid], rng)
  else:
    split = _splits_of_groups(counts, protocol, data)
  _logger.info(
    'protocol %s: %d tracks in %d groups', protocol, len(tracks), len(counts)
  )
  num_unknown = len(set(index.track_id[index.artist == '']))
  if protocol == 'artist' and num_unknown:
    _logger.warning(
      'the artist of %d tracks is unknown; each counts as a separate artist',
      num_unknown,
    )
  _warn_of_empty_splits(split, counts, protocol, data)
  found = np.array(SPLITS)[split[groups]]
  # Those that share an artist with the collection are in no split.
  is_unused = (found == 'test') & ~is_in_source
  found[is_unused] = ''
  if is_unused.any():
    _logger.warning(
      '%d tracks of other collections share an artist or a recording with '
      '%s, and are not used',
      len(set(index.track_id[is_unused])),
      data.test_source,
    )
  return found


def _is_in_source(prepared: Prepared, source: str) -> np.ndarray:
  """Returns bool[n], whether each excerpt is of a collection."""
  sources = [prepared.tracks[t].source for t in prepared.index.track_id]
  is_in_source = np.array([name == source for name in sources])
  if not is_in_source.any() or is_in_source.all():
    raise ConfigError(
      f'config.data.test_source={source}: must be one of several collections; '
      f'the tracks are from {", ".join(sorted(set(sources))) or "none"}'
    )
  return is_in_source


def _warn_of_empty_splits(
  split: np.ndarray, counts: np.ndarray, protocol: str, data: DataConfig
) -> None:
  """Logs which splits should have tracks but have none, and why.

  Args:
    split: i64[G], the split of each group, as an index into `SPLITS`.
    counts: i64[G, C], the number of tracks by group and genre.
    protocol: artist or track.
    data: `config.data`.
  """
  test_fraction = 1.0 if data.num_folds else data.test_fraction
  fractions = (1.0, data.valid_fraction, test_fraction)
  empty = [
    name
    for i, name in enumerate(SPLITS)
    if fractions[i] > 0 and not (split == i).any()
  ]
  if not empty:
    return
  _logger.warning(
    'no tracks in %s: tracks %s stay in one split, and there are too few such '
    'groups: %d in total and at most %d in a genre%s',
    ' or '.join(empty),
    'of one artist' if protocol == 'artist' else 'with the same audio',
    len(counts),
    (counts > 0).sum(axis=0).max(),
    _ADVICE if protocol == 'artist' else '',
  )


def _splits_of_groups(
  counts: np.ndarray, protocol: str, data: DataConfig
) -> np.ndarray:
  """Returns i64[G], the split of each group: 0 train, 1 valid, 2 test."""
  rng = np.random.default_rng([data.split_seed, 0])
  valid, test = data.valid_fraction, data.test_fraction
  if not data.num_folds:
    return assign_groups(counts, [1 - valid - test, valid, test], rng)
  folds = data.num_folds
  if folds > len(counts):
    raise ConfigError(
      f'config.data.num_folds={folds}: more than the {len(counts)} groups of '
      f'protocol {protocol}'
    )
  fold = assign_groups(counts, [1 / folds] * folds, rng)
  split = np.full(len(counts), 2)
  rest = fold != data.fold
  # A separate stream per fold makes the validation groups independent.
  rng = np.random.default_rng([data.split_seed, 1, data.fold])
  split[rest] = assign_groups(counts[rest], [1 - valid, valid], rng)
  return split


def _window_split(
  prepared: Prepared, data: DataConfig, windows: WindowsConfig, published: bool
) -> Splits:
  """The baseline's protocol, which puts windows of one track in all splits."""
  index = prepared.index
  _logger.warning(
    'LEAK: config.data.protocol=window puts overlapping windows of one track '
    'into training and test, as the baseline did. Its score does not estimate '
    'the accuracy on other tracks; compare it with published numbers only.'
  )
  examples = _windows_of(_excerpts(index, np.full(len(index), True)), windows)
  if published:
    lists = [prepared.tracks[t].window_splits for t in index.track_id]
    numbers = examples.starts // windows.hop_frames
    cut, listed = 1 + numbers.max(), max(map(len, lists))
    if cut != listed:
      raise ConfigError(
        f'config.windows: {cut} windows per track, but the published list has '
        f'{listed}; use the windows of configs/baseline/'
      )
    split = np.array(
      [
        lists[row][number] if number < len(lists[row]) else ''
        for row, number in zip(examples.rows, numbers, strict=True)
      ]
    )
    return Splits(
      'window', {name: examples.take(split == name) for name in SPLITS}
    )
  counts = np.eye(len(index.genres), dtype=int)[index.label[examples.rows]]
  split = _splits_of_groups(counts, 'window', data)
  return Splits(
    'window', {name: examples.take(split == i) for i, name in enumerate(SPLITS)}
  )


def _windows_of(excerpts: Examples, windows: WindowsConfig) -> Examples:
  """Returns each window of whole excerpts, on the baseline's grid."""
  found = [
    (row, start, min(windows.num_frames, length))
    for row, length in zip(excerpts.rows, excerpts.num_frames, strict=True)
    for start in range(
      0, max(0, length - windows.num_frames) + 1, windows.hop_frames
    )
  ]
  return Examples(*np.array(found, int).reshape(-1, 3).T)


def _checked(
  splits: Splits, index: ExcerptIndex, same_sound: np.ndarray, data: DataConfig
) -> Splits:
  """Returns the splits without leaking tracks; raises as `leaks.check` does."""
  rows = np.concatenate([np.unique(e.rows) for e in splits.examples.values()])
  split = np.concatenate(
    [np.full(len(np.unique(e.rows)), k) for k, e in splits.examples.items()]
  )
  columns = {
    'track_id': index.track_id[rows],
    'artist': index.artist[rows],
    'sha256': index.sha256[rows],
    'genre': np.array(index.genres)[index.label[rows]],
    'replica_group': leaks.replica_groups(index.track_id[rows]),
    'near_duplicate': same_sound[rows],
    'split': split,
  }
  keep = leaks.check(columns, splits.protocol, data.on_leak)
  if not keep.all():
    kept = {
      name: examples.take(np.isin(examples.rows, rows[keep & (split == name)]))
      for name, examples in splits.examples.items()
    }
    splits = Splits(splits.protocol, kept)
  present = set(index.label)
  for name, examples in splits.examples.items():
    missing = present - set(index.label[examples.rows])
    if missing and len(examples):
      genres = ', '.join(index.genres[i] for i in sorted(missing))
      _logger.warning('no tracks of %s in %s', genres, name)
  return splits
