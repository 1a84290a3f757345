import collections
import csv
import os
import sys
import unicodedata

import mutagen
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mgc_jax.config.schema import base_config
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.sources import (
  list_tracks,
  require_two_genres,
  synthetic,
)
from mgc_jax.system.errors import ConfigError, DataError
from tests.conftest import write_tone
from tests.processes import Process, unprivileged


def _touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b'')
  return path


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


def test_folder_ignores_hidden_files_and_rejects_unknown_genres(
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


def test_folder_reads_artists_from_tags(tmp_path):
  """The form in which artists are compared keeps them in one split."""
  artists = ('Zoë', 'ZOE\u0308 ', '[Unknown]', 'Ann', '', 'Various Artists')
  for i, artist in enumerate(artists):
    path = write_tone(tmp_path / 'jazz' / f'{i}.flac')
    if artist:
      _tag(path, artist)
  write_tone(tmp_path / 'jazz' / '6.au')  # has no tags
  tracks = list_tracks(_data(source='folder', root=str(tmp_path)))
  found = [track.artist for track in tracks]
  assert found == ['zoë', 'zoë', '', 'ann', '', '', '']


def _listed(root, **fields):
  tracks = list_tracks(_data(source='folder', root=str(root), **fields))
  return [track.track_id for track in tracks]


def test_folder_lists_sub_folders_sorted_by_path(tmp_path):
  names = ('jazz/b.wav', 'jazz/c/d e/f.wav', 'jazz/d.wav', 'rock/g.wav')
  for name in names:
    write_tone(tmp_path / name)
  assert _listed(tmp_path) == list(names)


def test_folder_logs_skipped_files_on_one_line(tmp_path, caplog):
  for name in (
    'a.wav',
    'jazz/b.wav',
    'jazz/cover.jpg',
    'jazz/._b.wav',
    'jazz/.hidden/h.wav',
    'jazz/@eaDir/i.wav',
    '.Trash-0/j.wav',
    'rock/c.wav',
  ):
    _touch(tmp_path / name)
  (tmp_path / 'jazz' / 'link').symlink_to(tmp_path / 'rock')
  with caplog.at_level('INFO'):
    assert _listed(tmp_path) == ['jazz/b.wav', 'rock/c.wav']
  (line,) = caplog.messages
  assert line == (
    f'{tmp_path}: skipped: 1 audio files outside the folders of genres, '
    '1 files that are not audio by name, 1 hidden files, '
    '3 hidden or trash folders, 1 links to folders that are read anyway'
  )


def test_genre_may_be_a_link_to_a_folder(tmp_path):
  write_tone(tmp_path / 'disk' / 'swing' / '0.wav')
  write_tone(tmp_path / 'music' / 'rock' / '0.wav')
  (tmp_path / 'music' / 'jazz').symlink_to(tmp_path / 'disk' / 'swing')
  (tmp_path / 'music' / 'rock' / 'more').symlink_to(tmp_path / 'disk')
  tracks = list_tracks(_data(source='folder', root=str(tmp_path / 'music')))
  found = [(track.track_id, track.genre, track.problem) for track in tracks]
  assert found == [('jazz/0.wav', 'jazz', ''), ('rock/0.wav', 'rock', '')]
  assert os.path.exists(tracks[0].path)


def test_link_to_a_file_outside_has_a_problem_unless_its_folder_is_linked(
  tmp_path,
):
  for i in range(2):
    write_tone(tmp_path / 'outside' / f'{i}.wav')
  write_tone(tmp_path / 'music' / 'rock' / 'a.wav')
  (tmp_path / 'disk').mkdir()
  (tmp_path / 'disk' / 'b.wav').symlink_to(tmp_path / 'outside' / '0.wav')
  (tmp_path / 'music' / 'jazz').symlink_to(tmp_path / 'disk')
  link = tmp_path / 'music' / 'rock' / 'c.wav'
  link.symlink_to(tmp_path / 'outside' / '1.wav')
  root = tmp_path / 'music'
  tracks = list_tracks(_data(source='folder', root=str(root)))
  assert {track.track_id: track.problem for track in tracks} == {
    'jazz/b.wav': '',
    'rock/a.wav': '',
    'rock/c.wav': f'a link out of {root}; copy the file, or link to its folder',
  }


def test_unreadable_folder_is_reported(tmp_path):
  for genre in ('jazz', 'rock'):
    _touch(tmp_path / genre / '0.wav')
  (tmp_path / 'rock').chmod(0)
  code = (
    'import sys\n'
    'from mgc_jax.config import base_config\n'
    'from mgc_jax.datasets.sources import folder\n'
    'data = base_config().data\n'
    'data.root = sys.argv[1]\n'
    'folder.list_tracks(data)\n'
  )
  process = Process([*unprivileged(), sys.executable, '-c', code, tmp_path])
  assert process.wait() == 1
  (tmp_path / 'rock').chmod(0o700)
  assert f'DataError: {tmp_path}/rock: Permission denied' in process.output


def test_two_files_with_the_same_track_id_raise(music_folder):
  folder = os.fsencode(music_folder / 'jazz')
  for name in (b'/caf\xe9.wav', b'/caf\\xe9.wav'):
    with open(folder + name, 'wb'):
      pass
  with pytest.raises(DataError, match='another track is also called jazz/caf'):
    list_tracks(_data(source='folder', root=str(music_folder)))


def test_manifest_is_relative_to_root(music_folder):
  text = 'path,track_id,genre\njazz/0.wav,a,jazz\n'
  (music_folder / 'm.csv').write_text(text)
  (track,) = list_tracks(
    _data(source='manifest', root=str(music_folder), manifest='m.csv')
  )
  assert track.path == str((music_folder / 'jazz' / '0.wav').resolve())


def test_several_manifests_are_collections_named_by_their_folders(
  tmp_path, monkeypatch
):
  for name in ('one', 'two'):
    write_tone(tmp_path / name / 'a.wav')
    table = f'path,track_id,genre\na.wav,{name}/a,rock\n'
    (tmp_path / name / 'manifest.csv').write_text(table)
  data = _data(
    source='manifest',
    manifest=','.join(
      str(tmp_path / name / 'manifest.csv') for name in ('one', 'two')
    ),
  )
  found = list_tracks(data)
  assert [track.source for track in found] == ['one', 'two']
  assert [track.path for track in found] == [
    str(tmp_path / name / 'a.wav') for name in ('one', 'two')
  ]
  monkeypatch.chdir(tmp_path / 'one')
  for comma in (',', ', '):
    names = comma.join(('manifest.csv', '../two/manifest.csv'))
    data = _data(source='manifest', manifest=names)
    assert [track.source for track in list_tracks(data)] == ['one', 'two']
  monkeypatch.setenv('HOME', str(tmp_path / 'two'))
  data = _data(source='manifest', manifest='manifest.csv,~/manifest.csv')
  assert [track.source for track in list_tracks(data)] == ['one', 'two']


def test_manifest_folder_is_the_default_root(music_folder):
  path = music_folder / 'm.csv'
  path.write_text('path,track_id,genre\njazz/0.wav,a,jazz\n')
  (track,) = list_tracks(_data(source='manifest', manifest=str(path)))
  assert os.path.exists(track.path)


@pytest.mark.parametrize(
  ('fields', 'error', 'message'),
  [
    ({'source': 'tape'}, ConfigError, 'config.data.source=tape: .* folder'),
    ({'source': 'folder'}, ConfigError, 'config.data.root: not set'),
    ({'source': 'manifest'}, ConfigError, 'config.data.manifest: not set'),
    ({'source': 'folder', 'root': '/none'}, DataError, '/none: no such folder'),
  ],
)
def test_unusable_source_raises(fields, error, message):
  with pytest.raises(error, match=message):
    list_tracks(_data(**fields))


def test_folder_without_audio_says_what_is_expected(tmp_path):
  _touch(tmp_path / 'jazz' / 'cover.jpg')
  message = f'no audio files in it .*1 files.*Expected {tmp_path}/<genre>/<tra'
  with pytest.raises(DataError, match=message):
    list_tracks(_data(source='folder', root=str(tmp_path)))


def test_fma_identifies_artists_by_number_except_various_artists(tmp_path):
  rows = [
    ('', 'album', 'artist', 'artist', 'set', 'set', *['track'] * 3),
    ('', 'title', 'id', 'name', 'split', 'subset', 'genre_top', 'title')
    + ('duration',),
    ('track_id', *[''] * 8),
  ]
  artists = (('7', 'Ann'), ('8', 'Ann'), ('9', 'Various Artists'), ('', 'Bob'))
  for i, (number, name) in enumerate(artists):
    facts = ('training', 'medium', 'Rock', 'title', '30')
    rows.append((str(3000 + i), 'album', number, name, *facts))
  with (tmp_path / 'tracks.csv').open('w', newline='') as file:
    csv.writer(file).writerows(rows)
  tracks = list_tracks(_data(source='fma', root=str(tmp_path)))
  found = [track.artist for track in tracks]
  assert found == ['ann (7)', 'ann (8)', '', 'bob']


# --- one genre only


def _rejection(**fields):
  """Returns why tracks are rejected before anything is decoded."""
  config = base_config()
  config.data.update(fields)
  with pytest.raises(DataError) as found:
    prepare(config)
  assert len(str(found.value).splitlines()) == 1
  return str(found.value)


def _kaggle(tmp_path):
  """Creates the layout of GTZAN's archive on Kaggle."""
  for genre in ('blues', 'jazz'):
    for i in range(3):
      _touch(tmp_path / 'Data' / 'genres_original' / genre / f'{i}.wav')
      _touch(tmp_path / 'Data' / 'images_original' / genre / f'{i}.png')
  _touch(tmp_path / 'Data' / 'features_30_sec.csv')
  return tmp_path / 'Data'


@pytest.mark.parametrize('above', ['', '..', '../..'])
def test_root_above_the_right_one_raises_with_a_suggestion(tmp_path, above):
  root = _kaggle(tmp_path / 'archive') / above
  message = _rejection(source='folder', root=str(root))
  meant = tmp_path / 'archive' / 'Data' / 'genres_original'
  assert message.endswith(f'; did you mean --config.data.root={meant}?')
  assert 'only one genre, ' in message
  assert _listed(meant)[0] == 'blues/0.wav'


@pytest.mark.parametrize('album', ['', 'live'])
def test_folder_of_one_genre_as_root_raises_with_a_suggestion(tmp_path, album):
  _touch(tmp_path / 'music' / 'rock' / '0.wav')
  _touch(tmp_path / 'music' / 'jazz' / '0.wav')
  _touch(tmp_path / 'music' / 'jazz' / album / '1.wav')
  message = _rejection(source='folder', root=str(tmp_path / 'music' / 'jazz'))
  assert message.endswith(
    f'; did you mean --config.data.root={tmp_path}/music?'
  )


def test_one_genre_raises_without_a_suggestion(tmp_path):
  _touch(tmp_path / 'jazz' / '0.wav')
  _touch(tmp_path / 'jazz' / 'live' / '1.wav')
  message = _rejection(source='folder', root=str(tmp_path))
  assert 'only one genre, jazz, but a classifier needs at least two' in message
  assert message.endswith(f'Expected {tmp_path}/<genre>/<track>')


def test_manifest_of_one_genre_raises(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('path,track_id,genre\na,1,jazz\nb,2,Jazz\n')
  message = _rejection(source='manifest', manifest=str(path))
  assert message.startswith(f'{path}: only one genre, Jazz')


def test_spellings_of_one_genre_count_as_one(tmp_path):
  for genre in ('Rock', 'rock'):
    _touch(tmp_path / genre / '0.wav')
  message = _rejection(source='folder', root=str(tmp_path))
  assert 'only one genre, Rock' in message and 'did you mean' not in message


def test_one_genre_is_enough_for_evaluation(tmp_path):
  _touch(tmp_path / 'Jazz' / '0.wav')
  data = _data(source='folder', root=str(tmp_path), genres=('jazz', 'rock'))
  tracks = list_tracks(data)
  require_two_genres(tracks, data)
  assert [track.genre for track in tracks] == ['jazz']


def test_unknown_genre_in_evaluation_suggests_the_root(tmp_path):
  message = _rejection(
    source='folder', root=str(_kaggle(tmp_path)), genres=('blues', 'jazz')
  )
  assert 'unknown genre genres_original; known: blues, jazz' in message
  assert message.endswith('genres_original?')


# --- names of genres

NFC = unicodedata.normalize('NFC', 'Café')
NFD = unicodedata.normalize('NFD', 'Café')
ODD_GENRES = (
  '日本語\u3000ポップ',
  'R&B/Soul',
  '$uicideboy$',
  '_misc',
  '80\'s "best"',
  '100 % hits',
  'Rock, Pop',
  'می\u200cخواهم',
  'Hôtel\xa0Pop',
)


def _manifest(tmp_path, genres):
  path = tmp_path / 'm.csv'
  rows = [f'{i}.wav,{i},"{g}"' for i, g in enumerate(genres)]
  path.write_text('\n'.join(['path,track_id,genre', *rows]), encoding='utf-8')
  return str(path)


def test_manifest_genres_keep_their_names(tmp_path, caplog):
  quoted = [genre.replace('"', '""') for genre in ODD_GENRES]
  data = _data(source='manifest', manifest=_manifest(tmp_path, quoted))
  assert tuple(track.genre for track in list_tracks(data)) == ODD_GENRES
  assert not caplog.text


def test_folder_genres_keep_their_names(tmp_path, caplog):
  genres = {genre for genre in ODD_GENRES if '/' not in genre}
  for genre in genres:
    _touch(tmp_path / genre / '0.wav')
  tracks = list_tracks(_data(source='folder', root=str(tmp_path)))
  assert {track.genre for track in tracks} == genres
  assert not caplog.text


@pytest.mark.parametrize(
  ('genres', 'wanted'),
  [
    (['Rock', 'rock', 'rock', 'jazz'], 'rock'),
    (['Rock', 'rock', 'jazz'], 'Rock'),
    (['ROCK', 'Rock', 'rock', 'rock', 'Rock', 'jazz'], 'Rock'),
    ([NFD, NFC, NFC, 'jazz'], NFC),
    (['City\u3000Pop', 'city pop', 'city pop', 'jazz'], 'city pop'),
    (['Ｊ－ＰＯＰ', 'j-pop', 'j-pop', 'jazz'], 'j-pop'),
  ],
)
def test_most_frequent_spelling_of_a_genre_is_used(
  tmp_path, caplog, genres, wanted
):
  data = _data(source='manifest', manifest=_manifest(tmp_path, genres))
  found = {track.genre for track in list_tracks(data)}
  assert found == {wanted, 'jazz'}
  (message,) = caplog.messages
  assert f'treated as one, "{wanted}": ' in message
  for genre, count in collections.Counter(genres).items():
    assert (f'"{genre}" ({count} tracks)' in message) == (genre != 'jazz')


def test_folders_whose_names_differ_in_spaces_are_one_genre(tmp_path):
  for genre in ('Rock ', ' rock', 'rock', 'jazz'):
    _touch(tmp_path / genre / '0.wav')
  _touch(tmp_path / 'rock' / '1.wav')
  tracks = list_tracks(_data(source='folder', root=str(tmp_path)))
  assert {track.genre for track in tracks} == {'rock', 'jazz'}
  assert len({track.track_id for track in tracks}) == 5


@pytest.mark.parametrize('source', ['folder', 'manifest'])
def test_genres_get_the_known_spelling(tmp_path, source, caplog):
  for i, genre in enumerate((NFD, 'JAZZ', 'jazz')):
    _touch(tmp_path / genre / f'{i}.wav')
  data = _data(source=source, root=str(tmp_path), genres=(NFC, 'Jazz', 'jazz'))
  data.manifest = _manifest(tmp_path, [NFD, 'JAZZ', 'jazz'])
  found = sorted(track.genre for track in list_tracks(data))
  # An exact match takes precedence over another known spelling.
  assert found == sorted([NFC, 'Jazz', 'jazz'])
  assert not caplog.text


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
    assert len(artists) == 6


def test_synthetic_tracks_are_deterministic_and_distinct():
  tracks = list_tracks(_data())[:5] + list_tracks(_data())[-3:]
  first = [synthetic.render(track.path, 8000) for track in tracks]
  again = [synthetic.render(track.path, 8000) for track in tracks]
  for one, two in zip(first, again, strict=True):
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32 and len(one) == 30 * 8000
    assert np.abs(one).max() == pytest.approx(0.9)
  assert len({waveform.tobytes() for waveform in first}) == len(tracks)


@pytest.mark.slow
def test_synthetic_genres_are_learnable_but_not_trivial():
  """Tests a linear probe on other artists: far from 10 and from 100 %."""
  config = base_config()
  config.data.synthetic.tracks_per_artist = 1
  config.data.synthetic.duration_s = 10.0
  tracks = list_tracks(config.data)
  features, genres, artists = [], [], []
  for track in tracks:
    (excerpt,) = excerpts_of(track, config.features, 1.0)
    frames = excerpt.frames.astype(np.float64)
    features.append(np.concatenate([frames.mean(0), frames.std(0)]))
    genres.append(track.genre)
    artists.append(track.artist)
  probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
  folds = GroupKFold(4).split(features, genres, artists)
  accuracy = cross_val_score(probe, features, genres, cv=folds).mean()
  assert 0.35 < accuracy < 0.95
