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
def test_results_are_in_order(num_workers):
  found = list(map_tracks(length_of, TRACKS, (1,), num_workers, 'test'))
  assert found == [(track, len(track.path) + 1) for track in TRACKS]


@pytest.mark.parametrize('pause_s', [0.0, 0.5])
def test_message_for_a_killed_worker_names_the_suspects(pause_s):
  """It dies while its result is awaited, or before more is submitted."""
  with pytest.raises(
    DataError, match='was killed while decoding one of: .*/music/6.wav'
  ):
    for _ in map_tracks(die_at, TRACKS, ('/music/6.wav',), 2, 'test'):
      time.sleep(pause_s)


def process_of(track):
  return os.getpid()


def test_without_permission_to_start_python_this_process_decodes(
  monkeypatch, tmp_path
):
  """For example, the user may not enter the folder of the interpreter."""
  path = tmp_path / 'python'
  path.touch(mode=0o600)
  monkeypatch.setattr(multiprocessing.spawn, '_python_exe', str(path))
  found = list(map_tracks(process_of, TRACKS, (), 2, 'test'))
  assert found == [(track, os.getpid()) for track in TRACKS]
