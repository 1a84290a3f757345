import csv
import dataclasses

import numpy as np
import pytest

from mgc_jax.config.schema import base_config
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.records import Prepared
from mgc_jax.datasets.split_file import write_split
from mgc_jax.datasets.splits import make_splits, own_genres
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import ConfigError, DataError

GENRES = ('blues', 'jazz', 'rock')


@pytest.fixture
def prepared(tmp_path):
  """90 tracks of 30 artists; the audio of three tracks occurs twice."""
  return _prepared(tmp_path, num_tracks=90)


def _prepared(tmp_path, num_tracks, splits=None):
  number = np.arange(num_tracks)
  ids = np.array([f't{i:03d}' for i in number])
  sha = np.array([f'audio{i}' for i in number])
  sha[[81, 82, 83]] = sha[[0, 1, 2]]  # these have the same genre
  artist = np.array([f'artist{i // 3}' if i % 10 else '' for i in number])
  label = number // 3 % 3
  index = ExcerptIndex(
    directory=tmp_path,
    genres=GENRES,
    excerpt_id=ids,
    track_id=ids,
    artist=artist,
    sha256=sha,
    label=label,
    duration_s=np.full(num_tracks, 3.0),
    num_frames=np.full(num_tracks, 100),
    shard=np.full(num_tracks, 's'),
    offset=number,
    band_sums=np.ones((num_tracks, 2, 4), np.float32),
  )
  splits = splits or [''] * num_tracks
  tracks = {
    t: Track(t, t, GENRES[label[i]], artist[i], split=splits[i])
    for i, t in enumerate(ids)
  }
  return Prepared(index, tracks, [], [])


def _config(**data):
  config = base_config()
  config.data.update(data)
  config.windows.num_frames, config.windows.hop_frames = 20, 10
  return config


def _sizes(splits):
  return {split: len(examples) for split, examples in splits.examples.items()}


def _shared(splits, index, column):
  """Returns the values that are in more than one split."""
  found = [
    set(getattr(index, column)[e.rows]) for e in splits.examples.values()
  ]
  return {v for v in set.union(*found) if v and sum(v in s for s in found) > 1}


@pytest.fixture
def two_collections(prepared):
  """Every third artist's tracks are from another collection."""
  tracks = {
    name: dataclasses.replace(
      track, source='b' if number // 3 % 3 == 1 else 'a'
    )
    for number, (name, track) in enumerate(prepared.tracks.items())
  }
  return dataclasses.replace(prepared, tracks=tracks)


def test_a_collection_is_left_out(two_collections):
  prepared = two_collections
  splits = make_splits(prepared, _config(test_source='b', valid_fraction=0.2))
  assert splits.protocol == 'artist'

  def sources(name):
    ids = prepared.index.track_id[splits.examples[name].rows]
    return {prepared.tracks[t].source for t in ids}

  assert sources('train') == sources('valid') == {'a'}
  assert sources('test') == {'b'} and len(splits.examples['test']) == 30
  assert sum(map(len, splits.examples.values())) == 90


def test_artists_of_the_collection_left_out_are_not_trained_on(
  two_collections, caplog
):
  index = two_collections.index
  artist = index.artist.copy()
  artist[6:9] = 'artist1'  # of b, and these tracks are of a
  prepared = dataclasses.replace(
    two_collections, index=dataclasses.replace(index, artist=artist)
  )
  splits = make_splits(prepared, _config(test_source='b', valid_fraction=0.2))
  used = np.concatenate([e.rows for e in splits.examples.values()])
  assert set(range(90)).difference(used) == {6, 7, 8}
  assert len(splits.examples['test']) == 30
  assert '3 tracks of other collections' in caplog.text


def test_own_genres_are_those_of_the_collection(two_collections):
  index = two_collections.index
  of_b = np.array(
    [two_collections.tracks[t].source == 'b' for t in index.track_id]
  )
  label = np.where(of_b, index.label % 2, index.label)
  index = dataclasses.replace(index, label=label)
  found = own_genres(dataclasses.replace(two_collections, index=index))
  in_b = sorted(set(label[of_b]))
  assert len(in_b) < len(set(label[~of_b]))
  for row, genres in enumerate(found):
    wanted = in_b if of_b[row] else sorted(set(label[~of_b]))
    assert list(np.flatnonzero(genres)) == wanted


def test_a_collection_is_left_out_of_published_lists(two_collections):
  config = _config(source='gtma', test_source='b', valid_fraction=0.2)
  splits = make_splits(two_collections, config)
  assert len(splits.examples['test']) == 30


def test_an_unknown_collection_is_reported(two_collections):
  with pytest.raises(ConfigError, match='test_source=c: .* are from a, b'):
    make_splits(two_collections, _config(test_source='c'))


def test_artist_protocol_is_the_default_and_does_not_leak(prepared):
  splits = make_splits(prepared, _config())
  assert splits.protocol == 'artist'
  for column in ('track_id', 'artist', 'sha256'):
    assert not _shared(splits, prepared.index, column)
  sizes = _sizes(splits)
  assert sum(sizes.values()) == 90
  assert sizes['train'] == pytest.approx(72, abs=4)
  for examples in splits.examples.values():
    assert set(prepared.index.label[examples.rows]) == {0, 1, 2}


def test_track_protocol_shares_only_artists(prepared):
  splits = make_splits(prepared, _config(protocol='track'))
  assert not _shared(splits, prepared.index, 'track_id')
  assert not _shared(splits, prepared.index, 'sha256')
  assert _shared(splits, prepared.index, 'artist')


def test_window_protocol_leaks_and_warns(prepared, caplog):
  splits = make_splits(prepared, _config(protocol='window'))
  assert 'LEAK' in caplog.text
  assert _shared(splits, prepared.index, 'track_id')
  assert sum(_sizes(splits).values()) == 90 * 9
  everything = [
    (row, start)
    for examples in splits.examples.values()
    for row, start in zip(examples.rows, examples.starts, strict=True)
  ]
  assert len(set(everything)) == 90 * 9
  assert all(set(e.num_frames) == {20} for e in splits.examples.values())


def test_published_splits_of_windows_are_used(prepared):
  splits = ('train', 'valid', 'test', *['train'] * 5, '')
  for name, track in prepared.tracks.items():
    prepared.tracks[name] = dataclasses.replace(track, window_splits=splits)
  splits = make_splits(prepared, _config(source='gtma', protocol='window'))
  assert _sizes(splits) == {'train': 90 * 6, 'valid': 90, 'test': 90}
  assert set(splits.examples['valid'].starts) == {10}
  assert set(splits.examples['test'].starts) == {20}


def test_examples_may_be_windows(prepared):
  whole = make_splits(prepared, _config())
  splits = make_splits(prepared, _config(examples='window'))
  for split, examples in splits.examples.items():
    rows = whole.examples[split].rows
    assert examples.rows.tolist() == np.repeat(rows, 9).tolist()
    assert examples.starts.tolist() == list(range(0, 81, 10)) * len(rows)
    assert set(examples.num_frames) == {20}
  assert not _shared(splits, prepared.index, 'artist')


def test_excerpt_shorter_than_a_window_is_one_example(prepared):
  prepared.index.num_frames[3] = 7
  splits = make_splits(prepared, _config(examples='window', valid_fraction=0.0))
  both = splits.eval_examples('train,test')[1]
  short = both.take(both.rows == 3)
  assert (short.starts.tolist(), short.num_frames.tolist()) == ([0], [7])


@pytest.mark.parametrize('protocol', ['artist', 'track', 'window'])
def test_split_is_a_function_of_its_seed_alone(prepared, protocol):
  def rows(**data):
    splits = make_splits(prepared, _config(protocol=protocol, **data))
    return splits.examples['test'].rows.tolist()

  assert rows() == rows()
  assert rows() != rows(split_seed=1)


@pytest.mark.parametrize('protocol', ['artist', 'track'])
def test_folds_test_every_track_once_and_do_not_leak(prepared, protocol):
  tested = []
  for fold in range(5):
    config = _config(protocol=protocol, num_folds=5, fold=fold)
    splits = make_splits(prepared, config)
    assert not _shared(splits, prepared.index, 'sha256')
    if protocol == 'artist':
      assert not _shared(splits, prepared.index, 'artist')
    assert sum(_sizes(splits).values()) == 90
    tested += splits.examples['test'].rows.tolist()
  assert sorted(tested) == list(range(90))


def test_folds_without_validation_train_on_all_other_folds(prepared):
  config = _config(num_folds=3, valid_fraction=0.0)
  sizes = _sizes(make_splits(prepared, config))
  assert sizes['valid'] == 0 and sizes['train'] + sizes['test'] == 90


def test_more_folds_than_groups_raises(prepared):
  with pytest.raises(ConfigError, match='config.data.num_folds=89: more than'):
    make_splits(prepared, _config(num_folds=89))


def _given(tmp_path, **changes):
  # Artists have three consecutive tracks, and replicas are 80 tracks apart.
  splits = ['train'] * 30 + ['test'] * 30 + [''] * 30
  for i, split in changes.items():
    splits[int(i[1:])] = split
  return _prepared(tmp_path, 90, splits)


def test_given_splits_are_the_default_if_present(tmp_path):
  splits = make_splits(_given(tmp_path), _config())
  assert splits.protocol == 'given'
  assert _sizes(splits) == {'train': 30, 'valid': 0, 'test': 30}


def test_explicit_protocol_overrides_given_splits(tmp_path):
  splits = make_splits(_given(tmp_path), _config(protocol='artist'))
  assert sum(_sizes(splits).values()) == 90


def test_given_split_with_an_artist_in_two_splits_raises(tmp_path):
  prepared = _given(tmp_path, t31='train')
  message = r'artists in two splits .1.:\n  artist10: t031 .* = t032 '
  with pytest.raises(DataError, match=message):
    make_splits(prepared, _config())


def test_given_split_with_audio_in_two_splits_raises(tmp_path):
  prepared = _given(tmp_path, t81='test')
  message = r'identical audio in two splits .1.:\n  t000 .* = t081 '
  with pytest.raises(DataError, match=message):
    make_splits(prepared, _config())


@pytest.mark.parametrize('protocol', ['artist', 'track', 'given'])
def test_audio_under_two_genres_raises(tmp_path, protocol):
  prepared = _given(tmp_path)
  prepared.index.label[0] = 2
  prepared.tracks['t081'] = dataclasses.replace(
    prepared.tracks['t081'], split='train'
  )
  with pytest.raises(DataError, match='identical audio with two genres .1.:'):
    make_splits(prepared, _config(protocol=protocol))


def test_dropping_leaks_keeps_the_test_split(tmp_path):
  prepared = _given(tmp_path, t31='train', t81='test')
  splits = make_splits(prepared, _config(on_leak='drop'))
  rows = {split: set(e.rows) for split, e in splits.examples.items()}
  assert rows['train'] == set(range(30)) - {0}  # t000 = t081
  assert rows['test'] == {*range(30, 60), 81} - {31}


def test_leaks_can_be_only_logged(tmp_path, caplog):
  prepared = _given(tmp_path, t31='train')
  splits = make_splits(prepared, _config(on_leak='warn'))
  assert _sizes(splits) == {'train': 31, 'valid': 0, 'test': 29}
  assert 'LEAK' in caplog.text and 'artist10' in caplog.text


def test_given_protocol_without_given_splits_raises(prepared):
  with pytest.raises(ConfigError, match='protocol=given: the source has no'):
    make_splits(prepared, _config(protocol='given'))


def test_eval_split_defaults_to_test_or_valid_and_combines_several(
  tmp_path, prepared
):
  splits = make_splits(prepared, _config())
  assert splits.eval_examples(None)[0] == 'test'
  name, both = splits.eval_examples('valid,test')
  sizes = _sizes(splits)
  assert name == 'valid,test'
  assert len(both) == sizes['valid'] + sizes['test']
  given = make_splits(_given(tmp_path), _config())
  with pytest.raises(DataError, match='eval_split=valid: has no tracks'):
    given.eval_examples('valid')


def _few(tmp_path, artists):
  """Returns tracks of two genres; `artists` has their artists, by genre."""
  number = np.arange(sum(map(len, artists)))
  ids = np.array([f't{i}' for i in number])
  label = np.repeat([0, 1], [len(names) for names in artists])
  artist = np.array([name for names in artists for name in names])
  index = ExcerptIndex(
    directory=tmp_path,
    genres=('jazz', 'rock'),
    excerpt_id=ids,
    track_id=ids,
    artist=artist,
    sha256=ids,
    label=label,
    duration_s=np.full(len(ids), 3.0),
    num_frames=np.full(len(ids), 100),
    shard=np.full(len(ids), 's'),
    offset=number,
    band_sums=np.ones((len(ids), 2, 4), np.float32),
  )
  tracks = {t: Track(t, t, index.genres[label[i]]) for i, t in enumerate(ids)}
  return Prepared(index, tracks, [], [])


def test_one_artist_per_genre_leaves_splits_empty_and_warns(tmp_path, caplog):
  prepared = _few(tmp_path, (['Miles'] * 6, ['Queen'] * 6))
  splits = make_splits(prepared, _config())
  assert _sizes(splits) == {'train': 12, 'valid': 0, 'test': 0}
  assert (
    'no tracks in valid or test: tracks of one artist stay in one split, and '
    'there are too few such groups: 2 in total and at most 1 in a genre. Add '
    'tracks by other artists, or set config.data.protocol=track'
  ) in caplog.text


def test_splits_with_fraction_zero_may_be_empty(tmp_path, caplog):
  prepared = _few(tmp_path, (['Miles'] * 6, ['Queen'] * 6))
  make_splits(prepared, _config(valid_fraction=0.0, test_fraction=0.0))
  assert 'no tracks in' not in caplog.text


def test_enough_artists_fill_all_splits(prepared, caplog):
  make_splits(prepared, _config())
  assert 'no tracks in' not in caplog.text


SPELLINGS = ('Björk', 'BJÖRK', 'Bjo\u0308rk ', 'björk')


def _spelled(config, music_folder, artists, splits=()):
  """Prepares a manifest of the twelve tracks with the given artists."""
  path = music_folder / 'm.csv'
  with path.open('w', newline='', encoding='utf-8') as file:
    writer = csv.writer(file)
    writer.writerow(['path', 'track_id', 'genre', 'artist', 'split'])
    for i, audio in enumerate(sorted(music_folder.glob('*/*.wav'))):
      name = audio.relative_to(music_folder)
      split = splits[i] if splits else ''
      writer.writerow([name, f't{i}', audio.parent.name, artists[i], split])
  config.data.source, config.data.manifest = 'manifest', str(path)
  return prepare(config)


def test_spellings_of_one_artist_stay_in_one_split(folder_config, music_folder):
  others = [f'a{i}' for i in range(8)]
  prepared = _spelled(folder_config, music_folder, [*SPELLINGS, *others])
  assert set(prepared.index.artist) == {'björk', *others}
  for seed in range(5):
    folder_config.data.split_seed = seed
    splits = make_splits(prepared, folder_config)
    tracks = [
      set(prepared.index.track_id[e.rows]) for e in splits.examples.values()
    ]
    assert sum(bool({'t0', 't1', 't2', 't3'} & split) for split in tracks) == 1


def test_spellings_of_one_artist_in_two_given_splits_raise(
  folder_config, music_folder
):
  splits = ['train', 'valid', 'test'] * 4
  artists = [*SPELLINGS, *(f'a{i}' for i in range(8))]
  prepared = _spelled(folder_config, music_folder, artists, splits)
  with pytest.raises(DataError, match='artists in two splits .1.:\n  björk: '):
    make_splits(prepared, folder_config)


def test_various_artists_are_unknown_and_fill_all_splits(
  folder_config, music_folder, caplog
):
  artists = ['Various Artists', 'various artists', 'VA', '<unknown>'] * 3
  prepared = _spelled(folder_config, music_folder, artists)
  splits = make_splits(prepared, folder_config)
  assert all(_sizes(splits).values())
  assert 'the artist of 12 tracks is unknown' in caplog.text


def test_too_few_tracks_under_track_protocol_warns(tmp_path, caplog):
  prepared = _few(tmp_path, (['a'], ['b']))
  make_splits(prepared, _config(protocol='track'))
  assert 'tracks with the same audio stay in one split' in caplog.text


def test_split_is_written_beside_the_records(prepared, tmp_path):
  config = _config(split_seed=3)
  splits = make_splits(prepared, config)
  write_split(splits, prepared.index, config.data)
  with open(tmp_path / 'split-artist-seed3.csv') as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 90
  found = {row['excerpt_id'] for row in rows if row['split'] == 'test'}
  assert found == set(prepared.index.excerpt_id[splits.examples['test'].rows])
