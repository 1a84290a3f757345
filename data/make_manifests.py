"""Writes the split manifests beside this file from facts about the tracks.

The facts are four CSVs: GTZAN's tracks, FMA-medium's tracks, the unreadable
tracks, and the baseline's list. Nothing is random: if there are more tracks
than places, those of the baseline's list come first, and the order is then that
of the SHA-256 of the track_id. README.md in this folder says what each manifest
is for.

Example:
  python data/make_manifests.py --facts=$DATA/gtma
"""

import argparse
import collections
import csv
import hashlib
import pathlib
from collections.abc import Iterable, Iterator

SPLITS = ('train', 'valid', 'test')
COLUMNS = ('track_id', 'genre', 'source', 'artist', 'split')
FMA_GENRES = {
  'classical': 'Classical',
  'country': 'Country',
  'electronic': 'Electronic',
  'experimental': 'Experimental',
  'folk': 'Folk',
  'hiphop': 'Hip-Hop',
  'instrumental': 'Instrumental',
  'jazz': 'Jazz',
  'pop': 'Pop',
  'rock': 'Rock',
}
_FMA_SPLITS = {'training': 'train', 'validation': 'valid', 'test': 'test'}
_TRACKS_PER_GENRE = 250
_ARTIST_SIZES = {'train': 180, 'valid': 30, 'test': 40}
_GTZAN_FRACTION = 0.4  # of a genre that both have, in the baseline's list
_WINDOWS_PER_TRACK = 9

Row = dict[str, str]


class Facts:
  """What is known of the tracks, with ids as the manifests have them."""

  def __init__(self, folder: pathlib.Path):
    """Reads the CSVs of a folder."""
    self.gtzan: dict[str, Row] = {}
    for row in _read(folder / 'gtzan_index.csv'):
      self.gtzan[f'gtzan/{row["track"]}'] = row
    self.unreadable = {
      f'fma/{row["track_id"]}' for row in _read(folder / 'fma_unreadable.csv')
    }
    self.fma = {
      f'fma/{row["track_id"]}': row
      for row in _read(folder / 'fma_medium_index.csv')
    }
    self.seed_list = [
      (f'{row["source"]}/{row["source_id"]}', row['genre'])
      for row in _read(folder / 'seed_tracks.csv')
    ]
    # By the genre that the index gives: the baseline's electronic is a copy.
    self.seed = {
      track_id: genre
      for track_id, genre in self.seed_list
      if genre != 'electronic' and track_id not in self.unreadable
    }

  def fma_of(self, genre: str, split: str = '') -> list[str]:
    """Returns the readable FMA tracks of a genre, the baseline's first."""
    found = {
      track_id
      for track_id, row in self.fma.items()
      if row['genre_top'] == FMA_GENRES[genre]
      and (not split or _FMA_SPLITS[row['split']] == split)
    }
    if not split:  # some of the baseline's are not in the index
      found |= {
        track_id
        for track_id, its_genre in self.seed.items()
        if its_genre == genre and track_id.startswith('fma/')
      }
    return self.ordered(found - self.unreadable)

  def gtzan_of(self, genre: str, split: str = '') -> list[str]:
    """Returns GTZAN's tracks of a genre, or those of one filtered list."""
    return self.ordered(
      track_id
      for track_id, row in self.gtzan.items()
      if row['genre'] == genre and (not split or row['filtered_split'] == split)
    )

  def ordered(self, track_ids: Iterable[str]) -> list[str]:
    """Returns tracks in the order in which places are given to them."""
    return sorted(
      track_ids, key=lambda t: (t not in self.seed, _shuffled(t), t)
    )

  def row(self, track_id: str, genre: str, split: str) -> Row:
    """Returns a line of a manifest."""
    artist = self.gtzan.get(track_id, {}).get('artist', '')
    source = track_id.partition('/')[0]
    return dict(
      zip(COLUMNS, (track_id, genre, source, artist, split), strict=True)
    )


def gtzan_artist(facts: Facts) -> Iterator[Row]:
  """The fault-filtered, artist-disjoint lists; no split where left out."""
  for track_id, row in facts.gtzan.items():
    yield facts.row(track_id, row['genre'], row['filtered_split'])


def gtzan_track(facts: Facts) -> Iterator[Row]:
  """8:1:1 of each genre, exact replicas in one split."""
  for genre in sorted({row['genre'] for row in facts.gtzan.values()}):
    tracks = [
      track_id
      for track_id in facts.gtzan_of(genre)
      if not _is_of_another_genre(facts, track_id)
    ]
    splits = _divide(facts, tracks)
    for track_id in sorted(facts.gtzan_of(genre)):
      yield facts.row(track_id, genre, splits.get(track_id, ''))


def gtma_track(facts: Facts) -> Iterator[Row]:
  """Yields the corrected baseline list, 200/25/25 per genre."""
  for genre in FMA_GENRES:
    gtzan = facts.gtzan_of(genre)
    fma = facts.fma_of(genre)[: _TRACKS_PER_GENRE - len(gtzan)]
    splits = {**_divide(facts, gtzan), **_divide(facts, fma)}
    for track_id in sorted(splits):
      yield facts.row(track_id, genre, splits[track_id])


def gtma_artist(facts: Facts) -> Iterator[Row]:
  """180/30/40 of each genre, each source by its artist-disjoint split."""
  for genre in FMA_GENRES:
    splits = {}
    for split, size in _ARTIST_SIZES.items():
      gtzan, fma = facts.gtzan_of(genre, split), facts.fma_of(genre, split)
      # Two of five from GTZAN; where one source has too few, the other fills.
      wanted = max(round(size * _GTZAN_FRACTION), size - len(fma))
      chosen = gtzan[:wanted]
      chosen += fma[: size - len(chosen)]
      splits.update(dict.fromkeys(chosen, split))
    for track_id in sorted(splits):
      yield facts.row(track_id, genre, splits[track_id])


def gtma_window(facts: Facts) -> Iterator[Row]:
  """Yields the baseline's 81/9/10 over windows of its list, faults included."""
  by_genre: dict[str, list[tuple[str, str, int]]] = collections.defaultdict(
    list
  )
  for track_id, genre in facts.seed_list:
    by_genre[genre] += [
      (track_id, genre, window) for window in range(_WINDOWS_PER_TRACK)
    ]
  for number, windows in enumerate(by_genre.values()):
    windows.sort(key=lambda w: _shuffled('{1}/{0}#{2}'.format(*w)))
    num_test = len(windows) // 10
    # 9 % of 2,250 is 202.5: every other genre has one more.
    num_valid = (len(windows) * 9 + 99 * (number % 2)) // 100
    splits = dict.fromkeys(windows, 'train')
    splits.update(dict.fromkeys(windows[:num_test], 'test'))
    splits.update(dict.fromkeys(windows[num_test:][:num_valid], 'valid'))
    for track_id, genre, window in sorted(splits):
      row = facts.row(track_id, genre, splits[track_id, genre, window])
      yield {**row, 'window': str(window)}


MANIFESTS = {
  function.__name__: function
  for function in (
    gtma_artist,
    gtma_track,
    gtma_window,
    gtzan_artist,
    gtzan_track,
  )
}


def _read(path: pathlib.Path) -> list[Row]:
  with path.open(newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def _shuffled(name: str) -> str:
  return hashlib.sha256(name.encode()).hexdigest()


def _replicas(facts: Facts, track_id: str) -> list[str]:
  """Returns the tracks with exactly the audio of one, itself among them."""
  group = facts.gtzan.get(track_id, {}).get('exact_replica_group')
  if not group:
    return [track_id]
  return [
    other
    for other, row in facts.gtzan.items()
    if row['exact_replica_group'] == group
  ]


def _is_of_another_genre(facts: Facts, track_id: str) -> bool:
  """Returns whether it is the copy that names a group across two genres."""
  replicas = _replicas(facts, track_id)
  genres = {facts.gtzan[t]['genre'] for t in replicas if t in facts.gtzan}
  row = facts.gtzan[track_id]
  return len(genres) > 1 and row['exact_replica_group'] == row['track']


def _divide(facts: Facts, tracks: list[str]) -> dict[str, str]:
  """Gives 8:1:1 of some tracks their splits, replicas the same one."""
  tenth = len(tracks) // 10
  if len(tracks) % 10:  # one was left out: the training split lacks it
    tenth += 1
  room = {'test': tenth, 'valid': tenth, 'train': len(tracks) - 2 * tenth}
  splits: dict[str, str] = {}
  for track_id in tracks:
    if track_id in splits:
      continue
    unit = [t for t in _replicas(facts, track_id) if t in tracks]
    split = next(name for name, places in room.items() if places >= len(unit))
    room[split] -= len(unit)
    splits.update(dict.fromkeys(unit, split))
  return splits


def main() -> None:
  """Writes all manifests."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--facts', required=True, help='folder of the CSVs')
  parser.add_argument(
    '--to',
    default=pathlib.Path(__file__).parent / 'manifests',
    type=pathlib.Path,
    help='folder of the manifests (default: beside this file)',
  )
  arguments = parser.parse_args()
  facts = Facts(pathlib.Path(arguments.facts))
  arguments.to.mkdir(parents=True, exist_ok=True)
  for name, make in MANIFESTS.items():
    rows = list(make(facts))
    path = arguments.to / f'{name}.csv'
    with path.open('w', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, rows[0], lineterminator='\n')
      writer.writeheader()
      writer.writerows(rows)
    print(f'{path}: {len(rows)} lines')


if __name__ == '__main__':
  main()
