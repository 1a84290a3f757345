"""Tracks in a bucket on a local S3 server; skipped if moto is missing."""

import csv
import socket
import subprocess
import sys
import time

import pytest

from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.track import is_remote
from mgc_jax.system.errors import DataError
from tests.conftest import write_tone
from tests.processes import Forked


@pytest.fixture
def bucket(music_folder):
  """Copies the music to a bucket; yields the environment to access it."""
  pytest.importorskip('moto')
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  server = subprocess.Popen(
    [sys.executable, '-m', 'moto.server', '-H', '127.0.0.1', '-p', str(port)],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  url = f'http://127.0.0.1:{port}'
  names = {'AWS_ACCESS_KEY_ID': 'test', 'AWS_SECRET_ACCESS_KEY': 'test'}
  names |= {'AWS_ENDPOINT_URL': url, 'AWS_DEFAULT_REGION': 'us-east-1'}
  try:
    files = s3fs_of(names)
    _wait_for(port)
    files.mkdir('music')
    files.put(str(music_folder), 'music/tracks', recursive=True)
    yield names
  finally:
    server.kill()
    server.wait()


def s3fs_of(env):
  return pytest.importorskip('s3fs').S3FileSystem(
    key='test', secret='test', endpoint_url=env['AWS_ENDPOINT_URL']
  )


def _wait_for(port):
  for _ in range(100):
    with socket.socket() as client:
      if client.connect_ex(('127.0.0.1', port)) == 0:
        return
    time.sleep(0.2)


def _manifest(music_folder, path, more=()):
  names = [
    f'{file.parent.name}/{file.name}' for file in music_folder.glob('*/*.wav')
  ]
  with path.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['path', 'track_id', 'genre'])
    for name in (*sorted(names), *more):
      writer.writerow([name, name, name.partition('/')[0]])


def _prepare(env, tmp_path, root, manifest):
  flags = [f'--config.data.root={root}', f'--config.data.manifest={manifest}']
  flags += ['--config.windows.num_frames=16', '--config.data.allow_missing']
  flags += [f'--config.data.prepared_dir={tmp_path}/prepared']
  code, output = _run(env, tmp_path, 'prepare', *flags)
  assert code == 0, output
  return output


def _run(env, tmp_path, command, *flags):
  """Returns exit code and output of a process with its own file systems."""
  number = len(list(tmp_path.glob('output*')))
  process = Forked(
    tmp_path / f'output{number}',
    'mgc_jax',
    command,
    '--config=configs/cnn.py',
    '--config.data.source=manifest',
    '--config.data.num_workers=2',
    *flags,
    **env,
  )
  return process.wait(), process.output


@pytest.mark.slow
def test_tracks_in_a_bucket_are_prepared(bucket, music_folder, tmp_path):
  manifest = tmp_path / 'tracks.csv'
  _manifest(music_folder, manifest, more=['rock/gone.wav'])
  output = _prepare(bucket, tmp_path, 's3://music/tracks', manifest)
  assert 'Skipped: 1 tracks (1 no such file)' in output
  assert 's3://music/tracks/rock/gone.wav: no such file' in output
  _manifest(music_folder, manifest)
  _prepare(bucket, tmp_path, music_folder, manifest)
  hashes = []
  for path in (tmp_path / 'prepared').glob('mgc_windows/*/*/index.csv'):
    with path.open() as file:
      rows = [(row['track_id'], row['sha256']) for row in csv.DictReader(file)]
    hashes.append(sorted(rows))
  assert hashes[0] == hashes[1] and len(hashes[0]) == 12
  # If a file in the bucket is replaced, and only then, prepare again.
  for _ in range(2):
    _prepare(bucket, tmp_path, 's3://music/tracks', manifest)
  assert len(list((tmp_path / 'prepared').glob('mgc_windows/*'))) == 3
  new = write_tone(tmp_path / 'new.wav', frequency_hz=999.0)
  s3fs_of(bucket).put(str(new), 'music/tracks/jazz/0.wav')
  _prepare(bucket, tmp_path, 's3://music/tracks', manifest)
  assert len(list((tmp_path / 'prepared').glob('mgc_windows/*'))) == 4


@pytest.mark.slow
def test_unreachable_server_is_reported_for_each_track(
  bucket, music_folder, tmp_path
):
  manifest = tmp_path / 'tracks.csv'
  _manifest(music_folder, manifest)
  header, first, *_, last = manifest.read_text().splitlines()  # two genres
  manifest.write_text('\n'.join([header, first, last]))
  # With more attempts the client would wait for half a minute.
  unreachable = {
    **bucket,
    'AWS_ENDPOINT_URL': 'http://127.0.0.1:9',
    'AWS_MAX_ATTEMPTS': '1',
  }
  flags = ['--config.data.root=s3://music/tracks']
  flags += [f'--config.data.manifest={manifest}']
  for env, code in ((bucket, 0), (unreachable, 1)):
    found, output = _run(env, tmp_path, 'verify', *flags)
    assert found == code
    assert 'Traceback' not in output
  assert output.count('unreadable: s3://music/tracks/') == 2
  assert 'cannot be fetched: ' in output
  # The tracks may be fine, so none may be recorded as skipped.
  flags.append(f'--config.data.prepared_dir={tmp_path}/prepared')
  code, output = _run(unreachable, tmp_path, 'prepare', *flags)
  assert code == 1 and 'error: s3://' in output
  assert 'Traceback' not in output
  assert not list((tmp_path / 'prepared').glob('*/*/*/index.csv'))


def test_manifest_paths_may_not_leave_a_remote_root(tmp_path):
  path = tmp_path / 'tracks.csv'
  for cell in ('../x.wav', '/x.wav', 's3://other/x.wav', 'a/../../x.wav'):
    path.write_text(f'path,track_id,genre\n{cell},x,jazz\n')
    with pytest.raises(DataError, match='line 2: path .* is outside gs://b'):
      read_manifest(path, 'gs://b/music')
  path.write_text('path,track_id,genre\njazz/x.wav,x,jazz\n')
  (track,) = read_manifest(path, 'gs://b/music/')
  assert track.path == 'gs://b/music/jazz/x.wav'


def test_remote_paths_are_recognised():
  assert is_remote('gs://b/x') and is_remote('s3://b')
  assert not is_remote('/gs://b') and not is_remote('synthetic:v1:x')
  assert not is_remote('file:///etc/passwd') and not is_remote('')
