"""Several real processes, connected on this machine, as one run."""

import socket

import pytest

from tests.processes import ROOT, TRAIN, Forked, Process, outcome

SMOKE = [
  f'--config={ROOT}/configs/smoke.py',
  '--config.data.num_workers=1',
  '--config.train.checkpoint_every_steps=1',
  '--config.data.synthetic.duration_s=3',
]
# A cluster of two processes on one machine, as SLURM describes it.
SRUN = r"""#!/usr/bin/env bash
[ "$1" = --kill-on-bad-exit=1 ] || exit 9
shift
export SLURM_NTASKS=2 SLURM_STEP_NODELIST=127.0.0.1 SLURM_STEP_NUM_NODES=1
for i in 0 1; do
  SLURM_PROCID=$i SLURM_LOCALID=$i "$@" > "$LOGS/$i" 2>&1 &
done
wait -n && wait -n
"""


def _free_port():
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def _start_two(folder, *flags):
  port = _free_port()
  cluster = [
    '--distributed',
    f'--coordinator=127.0.0.1:{port}',
    '--num_processes=2',
  ]
  words = [*SMOKE, *flags, *cluster]
  return [
    Forked(folder / f'{port}-{i}', 'mgc_jax.main', *words, f'--process_id={i}')
    for i in range(2)
  ]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('processes')


@pytest.fixture(scope='module')
def one(folder):
  """The outcome of one process on two devices."""
  flags = [f'--workdir={folder}/one', f'--config.data.prepared_dir={folder}/p']
  process = Process([*TRAIN, *SMOKE, *flags], JAX_NUM_CPU_DEVICES=2)
  assert process.wait() == 0, process.output
  return outcome(folder / 'one')


@pytest.fixture(scope='module')
def slurm(folder):
  """A run of two processes that the SLURM script starts."""
  (folder / 'bin').mkdir()
  (folder / 'bin' / 'srun').write_text(SRUN)
  (folder / 'bin' / 'srun').chmod(0o755)
  # A link to this Python first, and srun before it.
  command = f'PATH={folder}/bin:$PATH exec {ROOT}/launch/slurm_gpu.sbatch "$@"'
  flags = [f'--workdir={folder}/two', f'--config.data.prepared_dir={folder}/q']
  # JAX derives the coordinator's port from the number of the job.
  process = Process(
    ['bash', '-c', command, 'sbatch', *SMOKE, *flags],
    SLURM_JOB_ID=_free_port(),
    SLURM_SUBMIT_DIR=ROOT,
    JAX_PLATFORMS='cpu',
    LOGS=folder,
  )
  code = process.wait()
  outputs = [(folder / str(i)).read_text() for i in range(2)]
  assert code == 0, process.output + ''.join(outputs)
  return outputs


def test_two_processes_give_the_same_bits_as_one_with_two_devices(
  one, slurm, folder
):
  assert outcome(folder / 'two') == one


def test_only_one_process_logs_and_prints(slurm):
  assert 'track accuracy' in slurm[0] and 'process 0 of 2' in slurm[0]
  assert 'process 1 of 2, 1 of 2 devices' in slurm[1]
  for line in ('track accuracy', 'SYNTHETIC', 'epoch=1', 'preparing'):
    assert line not in slurm[1]


@pytest.mark.slow
def test_a_killed_process_ends_both_and_both_resume(one, folder):
  flags = [
    f'--workdir={folder}/cut',
    f'--config.data.prepared_dir={folder}/p',
    '--config.data.cache=none',  # streamed; the other runs are resident
  ]
  first, second = _start_two(folder, *flags)
  first.wait_for(lambda: list(folder.glob('cut/checkpoints/2')))
  second.kill()
  assert first.wait(60) == 1
  assert 'error: another process of this run has ended' in first.output
  assert 'cannot be written' not in first.output  # the peer, not the checkpoint
  both = _start_two(folder, *flags)
  assert [process.wait() for process in both] == [0, 0], both[0].output
  assert 'resumed at step' in both[0].output
  found = outcome(folder / 'cut')
  for name in ('weights', 'lines'):
    assert found[name] == one[name]


def test_the_flag_without_a_cluster_reports_what_is_missing(folder):
  process = Process([*TRAIN, *SMOKE, '--distributed'])
  assert process.wait() == 2
  assert '--coordinator=HOST:PORT' in process.output
  assert 'Traceback' not in process.output
