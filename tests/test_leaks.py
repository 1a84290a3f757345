import csv

import numpy as np
import pytest

from mgc_jax.datasets import leaks
from mgc_jax.datasets.published import facts
from mgc_jax.system.errors import DataError
from tests.commands import run_command


def _kinds(columns, protocol='given'):
  found = leaks.find_leaks(columns, protocol)
  return {leak.kind(): leak for leak in found}


def _columns(**changes):
  columns = {
    'track_id': ['a', 'b', 'c', 'd', 'e'],
    'genre': ['jazz', 'jazz', 'rock', 'rock', 'rock'],
    'split': ['train', 'valid', 'test', 'train', ''],
    'artist': ['', '', 'x', 'y', 'x'],
    'sha256': ['1', '2', '3', '4', '3'],
    'replica_group': ['', '', '', '', ''],
  }
  for name, column in changes.items():
    columns[name] = column.split(',')
  return {name: np.array(column) for name, column in columns.items()}


def test_unused_rows_do_not_leak():
  assert leaks.find_leaks(_columns(), 'given') == []


@pytest.mark.parametrize(
  ('kind', 'changes', 'rows'),
  [
    ('tracks in two splits', {'track_id': 'a,b,c,c,e'}, (2, 3)),
    ('artists in two splits', {'artist': 'x,,x,y,x'}, (0, 2)),
    ('identical audio in two splits', {'sha256': '1,1,3,4,3'}, (0, 1)),
    ('known replicas in two splits', {'replica_group': ',,g,g,g'}, (2, 3)),
    ('tracks with two genres', {'track_id': 'a,b,b,d,e'}, (1, 2)),
    ('identical audio with two genres', {'sha256': '1,2,3,1,3'}, (0, 3)),
    ('known replicas with two genres', {'replica_group': 'g,,,g,'}, (0, 3)),
  ],
)
def test_each_kind_of_leak_is_found_with_its_rows(kind, changes, rows):
  assert _kinds(_columns(**changes))[kind].rows == rows


def test_artists_may_be_in_two_splits_under_track_protocol():
  columns = _columns(artist='x,,x,y,x')
  assert _kinds(columns, 'track') == {}
  assert list(_kinds(columns, 'artist')) == ['artists in two splits']


def test_dropping_removes_whole_tracks():
  columns = _columns(track_id='a,b,c,a,e', sha256='1,2,3,3,5')
  columns['genre'][:] = 'jazz'
  with pytest.raises(DataError, match='identical audio in two splits .1.:'):
    leaks.check(columns, 'given', 'stop')
  kept = leaks.check(columns, 'given', 'drop')
  assert kept.tolist() == [False, True, True, False, True]


def _run(*args):
  return run_command('mgc_jax', 'leaks', *args)


def test_both_faults_of_the_baseline_list_are_found():
  done = _run(facts.manifest_path('gtma_window'))
  assert done.returncode == 1
  assert 'tracks in two splits (' in done.stdout
  assert 'tracks with two genres (250):' in done.stdout
  assert '(electronic, train) = fma/' in done.stdout


def test_leak_free_lists_pass():
  for name in ('gtma_artist', 'gtzan_artist'):
    assert _run(facts.manifest_path(name)).returncode == 0
  names = map(facts.manifest_path, ('gtma_track', 'gtzan_track'))
  assert _run('--protocol=track', *names).returncode == 0


def test_spellings_of_an_artist_are_equal(tmp_path):
  """Case, Unicode form and spaces do not hide a leak."""
  path = tmp_path / 'mine.csv'
  path.write_text(
    'Track_ID;genre;split;artist\n'
    'a;jazz;train;Björk\n'
    'b;jazz;test;BJO\u0308RK \n'
    'c;jazz;valid;björk\n',
    encoding='utf-8',
  )
  done = _run(path)
  assert done.returncode == 1
  assert (
    'artists in two splits (1):\n  björk: a (jazz, train) = b' in done.stdout
  )


def test_placeholder_artist_is_not_a_leak(tmp_path):
  path = tmp_path / 'mine.csv'
  rows = ('a,jazz,train,Various Artists', 'b,jazz,test,various artists')
  path.write_text('\n'.join(['track_id,genre,split,artist', *rows]))
  done = _run(path)
  assert done.returncode == 0, done.stdout


def test_spellings_of_a_genre_are_equal(tmp_path):
  """In a list of windows, for example, a track has several rows."""
  path = tmp_path / 'mine.csv'
  path.write_text('track_id,genre,split\na,Jazz,train\na,JAZZ ,train\n')
  done = _run(path)
  assert done.returncode == 0, done.stdout
  path.write_text('track_id,genre,split\na,Jazz,train\na,rock,train\n')
  assert 'tracks with two genres' in _run(path).stdout


def test_known_replicas_are_recognised_by_their_ids(tmp_path):
  replicas = facts.replica_groups()
  first = next(iter(replicas))
  second = next(t for t in replicas if t != first)
  assert replicas[first] == replicas[second]
  path = tmp_path / 'mine.csv'
  with path.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['track_id', 'genre', 'split'])
    writer.writerow([first, 'jazz', 'train'])
    writer.writerow([second, 'jazz', 'test'])
  done = _run(path)
  assert done.returncode == 1
  assert 'known replicas in two splits (1):' in done.stdout


@pytest.mark.parametrize(
  ('text', 'code', 'message'),
  [
    ('track_id,genre\na,jazz\n', 1, 'no column split'),
    ('track_id,genre,split\n', 1, 'lists no track'),
    ('track_id,genre,split\na,jazz,train,more\n', 0, '1 tracks, 0 leaks'),
    ('track_id,genre,split\na\nb\n', 0, '0 tracks, 0 leaks'),
  ],
)
def test_malformed_manifests_cause_no_traceback(tmp_path, text, code, message):
  path = tmp_path / 'odd.csv'
  path.write_text(text)
  done = _run(path)
  assert done.returncode == code
  assert message in done.stdout + done.stderr
  assert 'Traceback' not in done.stderr


def test_missing_manifest_is_a_usage_error():
  assert _run().returncode == 2
