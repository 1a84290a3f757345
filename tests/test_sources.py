import os

import mutagen
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mgc_jax.config import base_config
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.sources import list_tracks, synthetic
from mgc_jax.errors import ConfigError, DataError
from tests.conftest import write_tone


def _data(**fields):
  data = base_config().data
  data.update(fields)
  return data


def test_folder_lists_audio_by_genre(music_folder):
  (music_folder / 'jazz' / 'cover.jpg').write_bytes(b'')
  write_tone(music_folder / 'rock' / 'LOUD.FLAC')
  tracks = list_tracks(_data(source='folder', root=str(music_folder)))
  assert len(tracks) == 13
  assert {track.genre for track in tracks} == {'jazz', 'rock'}
  assert tracks[-1].track_id == 'rock/LOUD.FLAC'
  assert len({track.track_id for track in tracks}) == 13


def test_folder_ignores_hidden_files_and_refuses_unknown_genres(
  music_folder,
):
  write_tone(music_folder / 'jazz' / '._0.wav')
  data = _data(source='folder', root=str(music_folder))
  assert len(list_tracks(data)) == 12
  data.genres = ('jazz',)
  with pytest.raises(DataError, match='unknown genre rock; known: jazz'):
    list_tracks(data)


def _tag(path, artist):
  file = mutagen.File(path, easy=True)
  file['artist'] = artist
  file.save()


def test_folder_has_its_artists_from_the_tags(tmp_path):
  """Their songs stay on one side of a split, wherever they lie."""
  for i, artist in enumerate(('Zoë', 'ZOE\u0308 ', '[Unknown]', 'Ann', '')):
    path = write_tone(tmp_path / 'jazz' / f'{i}.flac')
    if artist:
      _tag(path, artist)
  write_tone(tmp_path / 'jazz' / '5.au')  # has no tags
  tracks = list_tracks(_data(source='folder', root=str(tmp_path)))
  assert [track.artist for track in tracks] == ['zoë', 'zoë', '', 'ann', '', '']


def test_folder_has_sub_folders(tmp_path, caplog):
  names = ('a.wav', 'jazz/b.wav', 'jazz/c/d e/f.wav', 'rock/g.wav')
  for name in (*names, 'jazz/.hidden/h.wav', '.Trash-0/i.wav'):
    write_tone(tmp_path / name)
  (tmp_path / 'jazz' / 'link').symlink_to(tmp_path / 'rock')
  tracks = list_tracks(_data(source='folder', root=str(tmp_path)))
  assert [track.track_id for track in tracks] == list(names[1:])
  assert 'jazz/link: a link to a folder; ignored' in caplog.text
  assert {track.genre for track in tracks} == {'jazz', 'rock'}
  assert "1 audio files are in no genre's folder; ignored" in caplog.text


def test_two_files_of_one_name_are_refused(music_folder):
  folder = os.fsencode(music_folder / 'jazz')
  for name in (b'/caf\xe9.wav', b'/caf\\xe9.wav'):
    with open(folder + name, 'wb'):
      pass
  with pytest.raises(DataError, match='is no unique name'):
    list_tracks(_data(source='folder', root=str(music_folder)))


def test_manifest_is_relative_to_root(music_folder):
  text = 'path,track_id,genre\njazz/0.wav,a,jazz\n'
  (music_folder / 'm.csv').write_text(text)
  (track,) = list_tracks(
    _data(source='manifest', root=str(music_folder), manifest='m.csv')
  )
  assert track.path == str((music_folder / 'jazz' / '0.wav').resolve())


def test_manifest_alone_has_its_folder_as_root(music_folder):
  path = music_folder / 'm.csv'
  path.write_text('path,track_id,genre\njazz/0.wav,a,jazz\n')
  (track,) = list_tracks(_data(source='manifest', manifest=str(path)))
  assert os.path.exists(track.path)


@pytest.mark.parametrize(
  ('fields', 'error', 'message'),
  [
    ({'source': 'tape'}, ConfigError, 'config.data.source=tape: .* folder'),
    ({'source': 'folder'}, ConfigError, 'config.data.root: unset'),
    ({'source': 'manifest'}, ConfigError, 'config.data.manifest: unset'),
    ({'source': 'folder', 'root': '/none'}, DataError, '/none: no such folder'),
  ],
)
def test_unusable_source_is_named(fields, error, message):
  with pytest.raises(error, match=message):
    list_tracks(_data(**fields))


def test_folder_without_audio_says_what_is_expected(tmp_path):
  with pytest.raises(DataError, match='expected <genre>/<track>'):
    list_tracks(_data(source='folder', root=str(tmp_path)))


def test_synthetic_corpus_has_ten_genres_and_several_artists_each():
  tracks = list_tracks(_data())
  assert sorted({track.genre for track in tracks}) == [
    'classical',
    'country',
    'electronic',
    'experimental',
    'folk',
    'hiphop',
    'instrumental',
    'jazz',
    'pop',
    'rock',
  ]
  for genre in synthetic.GENRES:
    artists = {track.artist for track in tracks if track.genre == genre}
    assert len(artists) == 8


def test_synthetic_tracks_are_deterministic_and_distinct():
  tracks = list_tracks(_data())[:5] + list_tracks(_data())[-3:]
  first = [synthetic.render(track.path, 8000) for track in tracks]
  again = [synthetic.render(track.path, 8000) for track in tracks]
  for one, two in zip(first, again, strict=True):
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32 and len(one) == 30 * 8000
    assert np.abs(one).max() == pytest.approx(0.9)
  assert len({waveform.tobytes() for waveform in first}) == len(tracks)


def test_synthetic_genres_can_be_told_apart_but_not_trivially():
  """A linear probe on artists that it has not heard: far from 10 and 100 %."""
  config = base_config()
  config.data.synthetic.tracks_per_artist = 1
  config.data.synthetic.duration_s = 10.0
  tracks = list_tracks(config.data)
  facts, genres, artists = [], [], []
  for track in tracks:
    (excerpt,) = excerpts_of(track, config.features, 1.0)
    frames = excerpt.frames.astype(np.float64)
    facts.append(np.concatenate([frames.mean(0), frames.std(0)]))
    genres.append(track.genre)
    artists.append(track.artist)
  probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
  folds = GroupKFold(4).split(facts, genres, artists)
  accuracy = cross_val_score(probe, facts, genres, cv=folds).mean()
  assert 0.35 < accuracy < 0.95
