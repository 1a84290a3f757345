import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile

import pytest

from mgc_jax.datasets.published.fetch import known_sets
from mgc_jax.system.errors import DataError
from tests.processes import ROOT, Process, environment

COMMAND = [sys.executable, '-m', 'mgc_jax', 'fetch']
MUSIC = os.urandom(900_000)


def run_command(command):
  return subprocess.run(
    command,
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
  )


def _zipped(**files):
  data = io.BytesIO()
  with zipfile.ZipFile(data, 'w') as file:
    for name, content in files.items():
      file.writestr(f'fma_small/{name}', content)
  return data.getvalue()


@pytest.fixture
def fetch(mirror, tmp_path):
  """Fetches a set like FMA's from the mirror, in a separate process."""
  mirror.content = _zipped(**{'000/000002.mp3': MUSIC, 'README.txt': b'hi'})

  def command(*faults, content=None):
    digest = hashlib.sha1(content or mirror.content).hexdigest()
    with (tmp_path / 'archives.csv').open('w', newline='') as file:
      writer = csv.writer(file)
      writer.writerow('set name url algorithm digest size_bytes'.split())
      for fault in faults:
        url = f'http://127.0.0.1:{mirror.server_address[1]}/{fault}/archive'
        row = ['fma_small', 'fma_small.zip', url, 'sha1', digest, '']
        writer.writerow(row)
    table = f'--archives={tmp_path / "archives.csv"}'
    return [*COMMAND, 'fma_small', f'--to={tmp_path / "to"}', table]

  return command


def test_set_is_fetched_once(fetch, mirror, tmp_path):
  for _ in range(2):
    done = run_command(fetch('missing', 'good'))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / 'to' / 'fma_small')
  assert 'exists already' in done.stderr
  assert len(mirror.asked['/good/archive']) == 1
  found = tmp_path / 'to' / 'fma_small' / '000' / '000002.mp3'
  assert found.read_bytes() == MUSIC


@pytest.mark.parametrize('size', ['500k', '1300k'])
def test_full_disk_is_reported_and_leaves_no_set(fetch, tmp_path, size):
  """On a disk too small for the archive, and on one too small to unpack it."""
  script = 'mount -t tmpfs -o "size=$1" none "$2" || exit 77; shift'
  script += '; to=$1; shift; "$@"; code=$?; ls -A "$to"; exit $code'
  to = tmp_path / 'to'
  to.mkdir()
  done = run_command(
    ['unshare', '--user', '--map-root-user', '--mount']
    + ['sh', '-c', script, 'sh', size, to, *fetch('good')]
  )
  if done.returncode == 77 or 'unshare' in done.stderr:
    pytest.skip('users may not mount file systems on this machine')
  assert done.returncode == 1
  assert 'the disk is full; free some space' in done.stderr
  assert 'Traceback' not in done.stderr
  assert 'fma_small' not in done.stdout.split()


def test_killed_fetch_is_resumed(fetch, mirror, tmp_path):
  partial = tmp_path / 'to' / 'fma_small.zip.partial'
  process = Process(fetch('slow'))
  process.wait_for(
    lambda: partial.exists() and partial.stat().st_size > 200_000
  )
  process.kill()
  assert not (tmp_path / 'to' / 'fma_small').exists()
  offset = partial.stat().st_size
  assert 0 < offset < len(mirror.content)
  done = run_command(fetch('good'))
  assert done.returncode == 0, done.stderr
  assert mirror.asked['/good/archive'] == [f'bytes={offset}-']
  found = tmp_path / 'to' / 'fma_small' / '000' / '000002.mp3'
  assert found.read_bytes() == MUSIC


@pytest.mark.parametrize(
  ('faults', 'reason'),
  [
    (['missing', 'wrong'], 'status 404'),
    (['wrong'], 'wrong bytes: sha1'),
    (['ftp'], 'rejected'),
  ],
)
def test_failed_download_is_one_message(fetch, tmp_path, faults, reason):
  done = run_command(fetch(*faults))
  assert done.returncode == 1
  assert reason in done.stderr and 'Traceback' not in done.stderr
  assert not (tmp_path / 'to' / 'fma_small').exists()
  assert not (tmp_path / 'to' / 'fma_small.zip').exists()


def test_damaged_archive_is_not_unpacked(
  fetch,
  mirror,
  tmp_path,
):
  damaged = bytearray(mirror.content)
  damaged[450_000] ^= 1  # the expected digest is that of the damaged bytes
  mirror.content = bytes(damaged)
  done = run_command(fetch('good'))
  assert done.returncode == 1 and 'damaged: Bad CRC-32' in done.stderr
  assert [p.name for p in (tmp_path / 'to').glob('fma_small*')] == [
    'fma_small.zip'
  ]


@pytest.mark.parametrize('words', [[], ['gtzam']])
def test_unknown_set_is_a_usage_error(words, tmp_path):
  done = run_command([*COMMAND, *words, f'--to={tmp_path}'])
  assert done.returncode == 2
  assert 'fma_full, fma_large, fma_medium, fma_metadata' in done.stderr


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('set,url\na,b\n', 'has no column name'),
    (
      'set,name,url,algorithm,digest,size_bytes\na,b,c,sha1,d,12 MB\n',
      'size_bytes is 12 MB: must be a number',
    ),
  ],
)
def test_a_damaged_table_is_reported(text, message, tmp_path):
  table = tmp_path / 'archives.csv'
  table.write_text(text)
  with pytest.raises(DataError, match=f'archives.csv: {message}'):
    known_sets(table)
