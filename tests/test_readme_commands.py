"""Every command of README and two other pages runs on small test data.

`/music` and similar paths are replaced by folders of a test, and sets are
fetched from loopback.
"""

import csv
import hashlib
import io
import re
import shutil
import zipfile

import pytest
import soundfile

from mgc_jax.datasets.published import facts
from mgc_jax.datasets.sources import synthetic
from tests import pages
from tests.commands import train_here
from tests.processes import ROOT, environment

# In an order in which a command finds what the commands before it have made.
PAGES = ('README.md', 'docs/COLLECTION.md', 'docs/EXPERIMENTS.md')
PAGE = '\n'.join((ROOT / page).read_text() for page in PAGES)
# Run elsewhere: by .ci/run, or by tests of their own.
ELSEWHERE = {
  "pip install -e '.[demo]' && mgc demo": 'tests/test_demo.py',
  'mgc export --model=cnn --format=onnx --to=cnn.onnx': 'tests/test_onnx.py',
  "pip install -e '.[test]' && python -m mgc_jax.main "
  '--config=configs/crnn.py': '.ci/run',
  'pytest': '.ci/run',
  'pip install torch==2.13.0  # the CPU build; see docs/PERFORMANCE.md': (
    '.ci/run'
  ),
  "pip install -e '.[bench]' && python -m benchmarks --toy": (
    'tests/test_benchmarks_toy.py'
  ),
  'launch/dask.sh ssh node1 node2': 'tests/test_launch.py',
  'mgc prepare --config=configs/crnn.py --config.data.source=fma '
  '--config.data.root=/nfs/fma --config.data.prepared_dir=/nfs/records '
  '--scheduler=tcp://HOST:8786': 'tests/test_cluster.py',
  'mgc predict /nfs/music --format=csv --scheduler=tcp://HOST:8786 '
  '--parts=/nfs/parts > genres.csv': 'tests/test_cluster.py',
  'mgc collection index /nfs/music --scheduler=tcp://HOST:8786': (
    'tests/test_parts.py'
  ),
  'mgc encoders build musicnn': 'tests/test_musicnn.py',
  'mgc encoders convert-taggrams $DATA/gtzan_taggram --to=runs/gtzan_tags': (
    'tests/test_encoder.py'
  ),
  'mgc cross-validate --workdirs=a,b,c,d,e': 'tests/test_cross_validation.py',
  'mgc compare --workdirs=a,b --against=c,d': 'tests/test_comparison.py',
}
# A copy of three tracks is incomplete, so the command reports it.
CODES = {'verify': 1}


def _commands():
  """Those of blocks, and those with arguments within a line, in order."""
  found = []
  for block, line in re.findall(
    r'```(?:sh|console)\n(.*?)```|`((?:mgc [\w-]+ |python -m |pytest )[^`]+)`',
    PAGE,
    re.DOTALL,
  ):
    found += pages.commands(block or line)
  return found


def test_commands_that_run_elsewhere_are_listed_and_run_there():
  listed = _commands()
  for command, place in ELSEWHERE.items():
    assert command in listed, command
    assert (ROOT / place).exists()
  gate = (ROOT / '.ci' / 'run').read_text()
  for part in (
    "install -q -e '.[test]'",
    '--config=configs/crnn.py',
    'pytest --cov=mgc_jax --cov-fail-under=90',
    'pytest -m slow',
    'torch==2.13.0',
  ):
    assert f'{part} ' in gate or f'{part}\n' in gate, part


@pytest.fixture
def world(tmp_path, mirror):
  """The folders that the pages mention, and the arguments to fetch sets."""
  songs = pages.write_songs(
    tmp_path / 'music', ('classical', 'rock'), lambda i: f'{i:03d}.mp3'
  )
  with (tmp_path / 'music' / 'tracks.csv').open('w', newline='') as file:
    rows = csv.writer(file)
    rows.writerow(['path', 'track_id', 'genre', 'artist', 'split'])
    splits = ('train', 'train', 'train', 'train', 'valid', 'test')
    for i, (path, genre, artist) in enumerate(songs):
      rows.writerow([path, path, genre, artist, splits[i % 6]])
  shutil.copytree(tmp_path / 'music', tmp_path / 'other')
  for name in ('my/genres', 'a', 'b', 'home/Music'):
    folder = tmp_path / name
    shutil.copytree(tmp_path / 'music', folder)
    (folder / 'tracks.csv').unlink()
  here = tmp_path / 'here'
  here.mkdir()
  for name in ('configs', 'launch'):
    (here / name).symlink_to(ROOT / name)
  for genre in ('classical', 'rock'):
    (here / genre).symlink_to(tmp_path / 'home' / 'Music' / genre)
  return here, f'--archives={_serve_sets(tmp_path, mirror)}'


def _serve_sets(folder, mirror):
  """Serves one archive for all sets, with a few tracks of two genres."""
  content = io.BytesIO()
  chosen = {}
  with zipfile.ZipFile(content, 'w') as file:
    for row in facts.read_facts(facts.manifest_path('gtma_artist')):
      key = row['genre'], row['split'], row['source']
      chosen[key] = chosen.get(key, 0) + 1
      if row['genre'] not in ('jazz', 'rock') or chosen[key] > 3:
        continue
      name = synthetic.GENRES[row['genre'] == 'rock']
      artist = f'{synthetic.SCHEME}{name}/{sum(chosen.values()):03d}/000'
      song = io.BytesIO()
      samples = synthetic.render(f'{artist}?duration_s=9', 22050)
      soundfile.write(song, samples, 22050, format='WAV')
      file.writestr(_place(row['track_id']), song.getvalue())
  mirror.content = content.getvalue()
  table = folder / 'archives.csv'
  url = f'http://127.0.0.1:{mirror.server_address[1]}/good/sets.zip'
  digest = hashlib.sha1(mirror.content).hexdigest()
  with table.open('w', newline='') as file:
    rows = csv.writer(file)
    rows.writerow('set name url algorithm digest size_bytes'.split())
    for name in ('gtzan', 'fma_metadata', 'fma_medium'):
      rows.writerow([name, 'sets.zip', url, 'sha1', digest, ''])
  return table


def _place(track_id):
  """Where GTZAN or FMA has a track."""
  source, name = track_id.split('/')
  if source == 'gtzan':
    return f'{name.partition(".")[0]}/{name}.wav'
  return f'{int(name) // 1000:03d}/{int(name):06d}.mp3'


def _in_this_world(command, folder, archives, changed):
  """Returns a command with folders and sizes that suit a test."""
  for place in ('music/a', 'music/b', 'music', 'other', 'my', 'data', 'sorted'):
    there = folder / place.removeprefix('music/')
    command = re.sub(f'(?<=[ =])/{place}\\b', str(there), command)
  command = command.replace('folds=5', 'folds=2').replace('0,1,2,3,4', '0')
  command = changed(command)
  if 'config.data.source=gtma' in command:
    command += ' --config.data.allow_missing'
  if pages.name(command) == 'sweep':
    sizes = {'num_artists': 4, 'tracks_per_artist': 1, 'duration_s': 9.0}
    for name, value in sizes.items():
      command += f' --config.data.synthetic.{name}={value}'
  if pages.name(command) == 'leakage':
    command += ' --networks=lstm'  # the quickest to compile
  if pages.name(command) == 'fetch':
    command += f' {archives}'
  return command


@pytest.mark.parametrize(
  'size', ['tiny', pytest.param('as shown', marks=pytest.mark.slow)]
)
def test_every_command_runs(size, world, tmp_path, monkeypatch):
  here, archives = world
  run, changed = pages.run_quickly, pages.shortened
  if size == 'tiny':
    run, changed = pages.run_here, pages.tiny
  train_here(monkeypatch)
  env = environment(HOME=tmp_path / 'home', XDG_DATA_HOME=tmp_path / 'share')
  ran = []
  for command in _commands():
    if command in ELSEWHERE:
      continue
    command = command.split(' && ')[-1]
    if command.startswith('pip install'):
      continue
    ran.append(pages.name(command))
    if ran[-1] == 'train' and '--workdir=runs/mine' in command:
      shutil.rmtree(here / 'runs' / 'mine', ignore_errors=True)
    command = _in_this_world(command, tmp_path, archives, changed)
    output = run(command, here, env, CODES.get(ran[-1], 0))
    assert 'Traceback' not in output
  assert len(ran) >= 19
  for made in ('cnn.mgc', 'jazz.m3u8', 'music.png', 'bands.png'):
    assert (here / made).stat().st_size, made
  for made in ('mine/results.json', 'own/results.json', 'leakage/leakage.png'):
    assert (here / 'runs' / made).stat().st_size > 50, made
  assert len(list((tmp_path / 'sorted').rglob('*.mp3'))) == 12
