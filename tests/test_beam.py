"""Preparation on Apache Beam; slow, and skipped if it is not installed."""

import csv
import importlib.util
import pathlib
import socket
import subprocess
import sys

import pytest

from tests.commands import run_command
from tests.hosts import Network
from tests.record_files import assert_same_records

if importlib.util.find_spec('apache_beam') is None:
  pytest.skip('no apache_beam', allow_module_level=True)
pytestmark = pytest.mark.slow
_BEAM = '--beam_pipeline_options=runner=DirectRunner'
_TWO_PROCESSES = (
  f'{_BEAM},direct_num_workers=2,direct_running_mode=multi_processing'
)


def _prepare(to, *args):
  """Runs the prepare command and returns the folder of the records."""
  words = ['prepare', '--config=configs/crnn.py', *args]
  words.append(f'--config.data.prepared_dir={to}')
  if any('multi_processing' in word for word in args):
    # What its workers get depends on the main module of a real process.
    command = [sys.executable, '-m', 'mgc_jax', *words]
    done = subprocess.run(command, capture_output=True, text=True)
  else:
    done = run_command('mgc_jax', *words)
  assert done.returncode == 0, done.stderr
  (folder,) = pathlib.Path(to).glob('mgc_windows/*/*/index.csv')
  return folder.parent


@pytest.mark.parametrize('beam', [_BEAM, _TWO_PROCESSES])
def test_records_equal_those_of_local_preparation(music_folder, tmp_path, beam):
  for genre in ('jazz', 'rock'):
    (music_folder / genre / 'text.mp3').write_text('no music')
  args = (
    '--config.data.source=folder',
    f'--config.data.root={music_folder}',
    '--config.data.allow_missing',
  )
  local = _prepare(tmp_path / 'local', *args)
  pipeline = _prepare(tmp_path / 'beam', *args, beam)
  assert_same_records(local, pipeline)
  with (pipeline / 'left_out.csv').open() as file:
    reasons = [row['reason'] for row in csv.DictReader(file)]
  assert len(reasons) == 2 and all(r.startswith('not audio') for r in reasons)
  assert not list(pipeline.glob('reasons_by_beam*'))
  # Either way, existing records are used.
  assert _prepare(tmp_path / 'local', *args, beam) == local


def test_a_worker_on_another_host_makes_the_same_records(
  music_folder, tmp_path
):
  network = Network()
  args = ('--config.data.source=folder', f'--config.data.root={music_folder}')
  try:
    if not network.has_links:
      pytest.skip('needs the right to create network namespaces')
    network.name_driver(socket.getfqdn())  # how Beam's worker calls it
    pool = network.workers[0].start(
      'apache_beam.runners.worker.worker_pool_main', '--service_port=50000'
    )
    words = ['prepare', '--config=configs/crnn.py', *args]
    words.append(f'--config.data.prepared_dir={tmp_path / "beam"}')
    at = f'{network.worker_addresses[0]}:50000'
    done = network.driver.start(
      'mgc_jax',
      *words,
      '--beam_pipeline_options=runner=PortableRunner,job_endpoint=embed,'
      f'environment_type=EXTERNAL,environment_config={at}',
    )
    assert done.wait() == 0, done.output
    assert 'Starting worker with command' in pool.output
  finally:
    network.close()
  (folder,) = (tmp_path / 'beam').glob('mgc_windows/*/*/index.csv')
  assert_same_records(_prepare(tmp_path / 'local', *args), folder.parent)


def test_records_of_real_mp3s_equal_those_of_local_preparation(
  data_dir, tmp_path
):
  with (data_dir / 'emotify_mp3' / 'manifest.csv').open() as file:
    rows = list(csv.DictReader(file))[::5]
  with (tmp_path / 'some.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  args = (
    '--config.data.source=manifest',
    f'--config.data.root={data_dir}/emotify_mp3',
    f'--config.data.manifest={tmp_path}/some.csv',
  )
  local = _prepare(tmp_path / 'local', *args)
  assert_same_records(local, _prepare(tmp_path / 'beam', *args, _BEAM))


@pytest.mark.parametrize(
  ('option', 'code', 'message'),
  [
    ('runner=Nope', 1, 'error: the pipeline failed: '),
    ('direct_num_workers=x', 2, '--beam_pipeline_options: '),
  ],
)
def test_invalid_options_are_an_error_on_one_line(
  music_folder, tmp_path, option, code, message
):
  command = ['mgc_jax', 'prepare']
  command += ['--config=configs/crnn.py', '--config.data.source=folder']
  command += [f'--config.data.root={music_folder}']
  command += [f'--config.data.prepared_dir={tmp_path}/prepared']
  command += [f'--beam_pipeline_options={option}']
  done = run_command(*command)
  assert done.returncode == code, done.stderr
  assert message in done.stderr and 'Traceback' not in done.stderr


def test_no_readable_track_is_an_error_on_one_line(tmp_path):
  for i in range(3):
    path = tmp_path / 'music' / ('jazz', 'rock')[i % 2] / f'{i}.mp3'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('no music')
  command = ['mgc_jax', 'prepare']
  command += ['--config=configs/crnn.py', '--config.data.source=folder']
  command += [f'--config.data.root={tmp_path}/music', _BEAM]
  command += [f'--config.data.prepared_dir={tmp_path}/prepared']
  done = run_command(*command)
  assert done.returncode == 1
  assert 'error: no track could be prepared' in done.stderr
  assert 'Traceback' not in done.stderr
