"""Parts of work and their files, with a Dask worker in this process.

Workers in processes of their own are in tests/test_cluster.py.
"""

import dataclasses
import hashlib
import logging
import sys

import distributed
import numpy as np
import pytest

from mgc_jax.cluster import part_file, parts
from mgc_jax.cluster.attempts import MAX_ATTEMPTS, Attempts
from mgc_jax.config.schema import Config, DataConfig, FeaturesConfig
from mgc_jax.datasets import prepared_parts
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.track import Track
from mgc_jax.inference import cluster, loading
from mgc_jax.models import bundle as bundles
from mgc_jax.system.errors import ConfigError, DataError
from tests.commands import run_command
from tests.conftest import write_tone
from tests.record_files import assert_same_records

ARRAYS = {
  'text': np.array(['a', '', 'ü\udce9']),
  'none': np.array([], str),
  'frames': np.arange(6, dtype=np.float16).reshape(3, 2),
}


def test_arrays_are_read_as_they_were_written(tmp_path):
  path = tmp_path / 'part.npz'
  part_file.write(path, ARRAYS)
  found = part_file.read(path)
  assert set(found) == set(ARRAYS)
  for name, array in ARRAYS.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


def test_a_changed_or_truncated_file_is_reported(tmp_path):
  path = tmp_path / 'part.npz'
  part_file.write(path, ARRAYS)
  whole = path.read_bytes()
  for i in range(0, len(whole), 7):
    for content in (
      whole[:i],
      whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :],
    ):
      path.write_bytes(content)
      with pytest.raises(DataError, match='part.npz: damaged'):
        part_file.read(path)


def test_a_pickle_is_not_loaded(tmp_path):
  path = tmp_path / 'part.npz'
  np.savez(path, x=np.array([object()], object), allow_pickle=True)
  content = path.read_bytes()
  path.write_bytes(content + hashlib.sha256(content).digest())
  with pytest.raises(DataError, match='Object arrays cannot be loaded'):
    part_file.read(path)


def test_an_item_that_never_ends_is_skipped_at_last(tmp_path):
  for _ in range(MAX_ATTEMPTS):
    attempts = Attempts(tmp_path / 'part')  # each time a new process
    assert attempts.begin(0) and attempts.begin(1)
  attempts = Attempts(tmp_path / 'part')
  assert attempts.begin(0) and not attempts.begin(1) and attempts.begin(2)
  attempts.end()
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('content', ['', '{"0": 3', '[]', '{"0": "x"}', '7'])
def test_a_damaged_count_of_attempts_is_ignored(tmp_path, content):
  (tmp_path / 'part.attempts').write_text(content)
  assert Attempts(tmp_path / 'part').begin(0)


@pytest.mark.parametrize(
  ('count', 'size'), [(0, 0), (9, 1), (500, 8), (5000, 32)]
)
def test_parts_are_small_if_there_are_few_tracks(count, size):
  items = [f'/music/{i}.mp3' for i in range(count)]
  found = parts.groups(items)
  assert [x for group in found for x in group] == items
  sizes = [len(group) for group in found]
  assert max(sizes, default=0) <= 2 * size
  assert not sizes or size / 2 <= np.mean(sizes) <= size


def test_parts_stay_the_same_if_the_first_tracks_are_finished():
  items = [f'/music/{i}.mp3' for i in range(5000)]
  before, after = parts.groups(items), parts.groups(items[1010:])
  assert sum(group in before for group in after) >= len(after) - 2


@pytest.fixture(scope='module')
def scheduler():
  """The address of a scheduler with one worker, both in this process."""
  with distributed.LocalCluster(
    n_workers=1,
    threads_per_worker=1,
    processes=False,
    protocol='tcp://',
    host='127.0.0.1',
    dashboard_address=':0',
    silence_logs=logging.ERROR,
  ) as cluster:
    yield cluster.scheduler_address


def test_predictions_are_the_same_and_are_kept(scheduler, bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  songs = [str(write_tone(tmp_path / f'{i}.wav', 3.0 + i)) for i in range(2)]
  (tmp_path / 'text.mp3').write_text('no music')
  songs.insert(1, str(tmp_path / 'text.mp3'))
  words = ['predict', *songs, f'--model={tmp_path / "model"}', '--engine=jax']
  words += ['--format=json', '--timeline', '--top=all']
  here = run_command('mgc_jax', *words)
  parts = tmp_path / 'parts'
  words += [f'--parts={parts}']
  there = run_command('mgc_jax', *words, f'--scheduler={scheduler}')
  assert there == dataclasses.replace(here, args=there.args)
  before = {path: path.stat().st_mtime_ns for path in parts.iterdir()}
  assert len(before) == 3
  damaged = min(before)
  damaged.write_bytes(damaged.read_bytes()[:-100])
  again = run_command('mgc_jax', *words, f'--scheduler={scheduler}')
  assert again.stdout == here.stdout
  assert 'damaged' in again.stderr and '3 of 3 parts exist' in again.stderr
  del before[damaged]
  assert all(path.stat().st_mtime_ns == x for path, x in before.items())
  # Nothing is left to compute, so the scheduler is not needed.
  again = run_command('mgc_jax', *words, '--scheduler=tcp://127.0.0.1:1')
  assert again.stdout == here.stdout


def test_records_are_the_same(scheduler, folder_config, tmp_path):
  folder_config.data.prepared_dir = str(tmp_path / 'local')
  here = prepare(Config.from_dict(folder_config))
  folder_config.data.prepared_dir = str(tmp_path / 'cluster')
  there = prepare(Config.from_dict(folder_config), scheduler=scheduler)
  assert_same_records(here.index.directory, there.index.directory)
  assert not list((tmp_path / 'cluster').glob('mgc_windows/*/parts'))


def test_an_index_is_the_same(scheduler, bundle, music_folder, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  found = []
  kept = tmp_path / 'shared'
  kept.mkdir()
  (kept / 'song.npz').write_text('not ours')
  on_cluster = (f'--scheduler={scheduler}', f'--parts={kept}')
  for name, more in (('a', ()), ('b', on_cluster), ('c', on_cluster[:1])):
    index = f'--index={tmp_path / name}.sqlite'
    words = ('index', str(music_folder), index, f'--model={tmp_path / "model"}')
    done = run_command('mgc_jax.collection', *words, '--engine=jax', *more)
    assert done.returncode == 0, done.stderr
    report = ('report', index, '--format=json', '--least=100')
    found.append(run_command('mgc_jax.collection', *report).stdout)
  assert found[0] == found[1] == found[2]
  assert not list(tmp_path.glob('*.parts'))
  # In a folder that the user names, only files of parts are deleted.
  assert [path.name for path in kept.iterdir()] == ['song.npz']


def _part(tmp_path, name='x'):
  return parts.Part(tmp_path / f'{name}{part_file.SUFFIX}', (0,))


def _fail(part, attempts):
  raise ValueError('cannot be done')


def _write_nothing(part, attempts):
  return {}


def test_a_part_that_fails_is_reported(scheduler, tmp_path):
  job = parts.Job(_fail, (), 'job')
  with pytest.raises(DataError, match='job: cannot be done; run this again'):
    list(parts.computed(scheduler, job, [_part(tmp_path)]))


def test_a_host_without_the_shared_disk_is_reported(scheduler, tmp_path):
  job = parts.Job(_write_nothing, (), 'job')
  with pytest.raises(DataError, match='gone: does not exist on'):
    list(parts.computed(scheduler, job, [_part(tmp_path / 'gone')]))


def test_a_worker_with_other_code_is_reported(tmp_path):
  job = parts.Job(_write_nothing, (), 'job')
  with pytest.raises(ConfigError, match='a worker has another version of'):
    parts._make(job, _part(tmp_path), 'other')


def test_a_host_that_sees_other_files_is_reported(bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'model')
  song = str(write_tone(tmp_path / 'a.wav'))
  digest = loading.load(tmp_path / 'model', engine='jax').digest
  part = parts.Part(tmp_path / f'other{part_file.SUFFIX}', (song,))
  attempts = Attempts(part.path)
  arguments = (str(tmp_path / 'model'), 'jax', digest)
  with pytest.raises(DataError, match=r'sees other files .*a\.wav'):
    cluster._compute(part, attempts, *arguments)
  with pytest.raises(DataError, match='is another model there'):
    cluster._compute(part, attempts, *arguments[:2], 'other')
  data, features = DataConfig(), FeaturesConfig()
  part = dataclasses.replace(part, items=(Track('a', song, 'rock'),))
  with pytest.raises(DataError, match=r'sees other files .*a\.wav'):
    prepared_parts._compute(part, attempts, features, data)


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (('--scheduler=tcp://127.0.0.1:1',), 'also needs --parts=DIR'),
    (('--parts=x',), '--parts: only used with --scheduler'),
    (
      ('--scheduler=tcp://127.0.0.1:1', '--parts=x', '--tags'),
      '--tags: cannot be combined with --scheduler',
    ),
    (
      ('--scheduler=nonsense://x', '--parts=x'),
      '--scheduler=nonsense://x: cannot be reached',
    ),
  ],
)
def test_flags_that_cannot_work_are_reported(words, message, tmp_path):
  write_tone(tmp_path / 'a.wav')
  done = run_command('mgc_jax', 'predict', 'a.wav', *words, cwd=tmp_path)
  assert done.returncode == 2 and message in done.stderr


def test_a_missing_dask_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'distributed', None)
  write_tone(tmp_path / 'a.wav')
  words = ('a.wav', '--scheduler=tcp://127.0.0.1:1', '--parts=parts')
  done = run_command('mgc_jax', 'predict', *words, cwd=tmp_path)
  assert done.returncode == 2
  assert "needs Dask: pip install 'mgc_jax[cluster]'" in done.stderr
