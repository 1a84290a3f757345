import csv
import hashlib
import re

import pytest

from mgc_jax.config.schema import base_config
from mgc_jax.datasets.published import facts
from mgc_jax.datasets.sources import list_tracks
from mgc_jax.datasets.track import Track
from mgc_jax.datasets.verify import extra_files
from tests.commands import run_command
from tests.conftest import write_tone


@pytest.fixture
def manifest(tmp_path):
  """Three intact tracks, and one with each fault."""
  names = ('a', 'b', 'c', 'missing', 'text', 'short', 'changed', 'frames')
  rows = []
  for i, name in enumerate(names):
    ending = 'npy' if name == 'frames' else 'wav'
    path = tmp_path / 'jazz' / f'{name}.{ending}'
    if name in ('text', 'frames'):
      path.write_text('neither sound nor numbers')
    elif name != 'missing':
      write_tone(path, seconds=2.0, frequency_hz=200.0 + i)
    row = {'path': path.relative_to(tmp_path), 'track_id': name}
    row |= {'genre': 'jazz', 'duration_s': '', 'digest': ''}
    if name == 'short':
      row['duration_s'] = '3.5'
    if name in ('a', 'changed'):
      row['digest'] = 'md5:' + hashlib.md5(path.read_bytes()).hexdigest()
    if name == 'changed':
      write_tone(path, seconds=2.0, frequency_hz=900.0)
    rows.append(row)
  write_tone(tmp_path / 'rock' / 'extra.flac')
  (tmp_path / 'notes.txt').write_text('no audio by name')
  path = tmp_path / 'tracks.csv'
  with path.open('w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  return path


def _run(*args):
  return run_command('mgc_jax', 'verify', '--config=configs/cnn.py', *args)


def test_every_fault_is_listed_and_counted(manifest):
  done = _run(
    '--config.data.source=manifest', f'--config.data.manifest={manifest}'
  )
  assert done.returncode == 1, done.stderr
  folder = manifest.parent
  for line in (
    f'missing: {folder}/jazz/missing.wav: no such file',
    f'unreadable: {folder}/jazz/text.wav: not audio',
    f'unreadable: {folder}/jazz/frames.npy: not a complete .npy array',
    f'wrong length: {folder}/jazz/short.wav: 2.0 s, not 3.5 s',
    f'wrong digest: {folder}/jazz/changed.wav: md5:',
    f'extra: {folder}/rock/extra.flac',
  ):
    assert line in done.stdout
  assert '8 tracks listed' in done.stdout
  for count in (r'whole +3', r'unreadable +2', r'extra +1'):
    assert re.search(f'^{count}$', done.stdout, re.MULTILINE)
  assert 'Traceback' not in done.stderr


def test_intact_copy_passes_despite_extra_files(manifest):
  with manifest.open() as file:
    rows = list(csv.reader(file))
  with manifest.open('w', newline='') as file:
    csv.writer(file).writerows(rows[:4])
  done = _run(
    '--config.data.source=manifest', f'--config.data.manifest={manifest}'
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'extra: ' in done.stdout


def test_extra_files_are_those_in_the_folders_of_all_manifests(tmp_path):
  for name in ('one', 'two'):
    for track in ('listed', 'extra'):
      write_tone(tmp_path / name / f'{track}.wav')
    table = f'path,track_id,genre\nlisted.wav,{name},rock\n'
    (tmp_path / name / 'manifest.csv').write_text(table)
  data = base_config().data
  data.source = 'manifest'
  data.manifest = ','.join(map(str, sorted(tmp_path.glob('*/*.csv'))))
  found = extra_files(list_tracks(data), data)
  wanted = [str(tmp_path / name / 'extra.wav') for name in ('one', 'two')]
  assert found == wanted


@pytest.mark.parametrize(
  ('column', 'value'), [('digest', 'crc:1'), ('duration_s', 'nan')]
)
def test_manifest_with_invalid_facts_raises(manifest, column, value):
  text = f'path,track_id,genre,{column}\njazz/a.wav,a,jazz,{value}\n'
  manifest.write_text(text)
  done = _run(
    '--config.data.source=manifest', f'--config.data.manifest={manifest}'
  )
  assert done.returncode == 1
  assert f'tracks.csv, line 2: {column} {value}' in done.stderr


def test_real_gtzan_clips_are_checked_by_length_and_digest(data_dir):
  """In the local copy the .au are intact; the .wav are cut to 15 to 20 s."""
  done = _run(
    '--config.data.source=gtzan', f'--config.data.root={data_dir}/gtzan_audio'
  )
  assert done.returncode == 1
  assert re.search(r'^whole +8$', done.stdout, re.MULTILINE)
  assert '930 tracks listed' in done.stdout
  assert 'blues.00001.wav: ' in done.stdout


def test_digests_equal_the_published_facts(data_dir):
  with (data_dir / 'gtma' / 'gtzan_index.csv').open() as file:
    rows = list(csv.DictReader(file))
  digests = {f'gtzan/{row["track"]}': row['md5_wav'] for row in rows}
  assert facts.gtzan_digests() == digests


def test_extra_files_are_found_like_tracks(tmp_path):
  """Links are followed; hidden folders and trash folders are skipped."""
  for name in (
    'music/jazz/a.wav',
    'music/jazz/extra.MP3',
    'music/jazz/@eaDir/a.wav/thumbnail.mp3',
    'music/.Trash-1000/files/b.wav',
    'disk/c.flac',
    'disk/listed.wav',
  ):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'')
  root = tmp_path / 'music'
  (root / 'nas').symlink_to(tmp_path / 'disk')
  (root / 'jazz' / 'again').symlink_to(root)
  (root / 'jazz' / 'link.wav').symlink_to(root / 'jazz' / 'a.wav')
  data = base_config().data
  data.source, data.root = 'manifest', str(root)
  tracks = [
    Track('a', str(root / 'jazz' / 'a.wav'), 'jazz'),
    Track('listed', str(root / 'nas' / 'listed.wav'), 'jazz'),
  ]
  assert extra_files(tracks, data) == [
    f'{root}/jazz/extra.MP3',
    f'{root}/nas/c.flac',
  ]


def test_one_genre_is_enough_to_verify(tmp_path):
  write_tone(tmp_path / 'jazz' / 'a.wav')
  done = _run('--config.data.source=folder', f'--config.data.root={tmp_path}')
  assert done.returncode == 0, done.stderr
  assert re.search(r'^whole +1$', done.stdout, re.MULTILINE)


def test_synthetic_tracks_have_no_files():
  assert _run().returncode == 2
