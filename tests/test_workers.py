import multiprocessing.spawn
import os
import signal
import time

import pytest

from mgc_jax.datasets.track import Track
from mgc_jax.datasets.workers import map_tracks
from mgc_jax.system.errors import DataError

TRACKS = [Track(f't{i}', f'/music/{i}.wav', 'jazz') for i in range(40)]


def length_of(track, more):
  return len(track.path) + more


def die_at(track, path):
  if track.path == path:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('num_workers', [1, 2])
def test_results_come_in_order(num_workers):
  found = list(map_tracks(length_of, TRACKS, (1,), num_workers, 'test'))
  assert found == [(track, len(track.path) + 1) for track in TRACKS]


@pytest.mark.parametrize('pause_s', [0.0, 0.5])
def test_a_killed_process_is_said_with_whose_decoding_it_may_have_been(pause_s):
  """Whether it dies while it is waited for, or before more is submitted."""
  with pytest.raises(DataError, match=r'was killed, by one of: .*/music/6.wav'):
    for _ in map_tracks(die_at, TRACKS, ('/music/6.wav',), 2, 'test'):
      time.sleep(pause_s)


def process_of(track):
  return os.getpid()


def test_where_python_cannot_be_started_again_this_process_decodes(
  monkeypatch, tmp_path
):
  """As for a user who may not enter the folder that it was started from."""
  path = tmp_path / 'python'
  path.touch(mode=0o600)
  monkeypatch.setattr(multiprocessing.spawn, '_python_exe', str(path))
  found = list(map_tracks(process_of, TRACKS, (), 2, 'test'))
  assert found == [(track, os.getpid()) for track in TRACKS]
