import pathlib
import shlex
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.processes import Process, environment

LAUNCH = pathlib.Path(__file__).parent.parent / 'launch'
SCRIPTS = sorted(
  path for path in LAUNCH.iterdir() if path.suffix not in ('.yaml', '.txt')
)
MAIN = ['python', '-m', 'mgc_jax.main']
PREPARE = ['mgc', 'prepare']


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
  done = subprocess.run(
    ['shellcheck', '--shell=bash', path],
    env=environment(),
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
  ('script', 'platform', 'command'),
  [
    ('local_gpu.sh', 'cuda', MAIN),
    ('tpu_vm.sh', 'tpu', [*MAIN, '--distributed']),
    (
      'slurm_gpu.sbatch',
      'cuda',
      ['srun', '--kill-on-bad-exit=1', *MAIN, '--distributed'],
    ),
  ],
)
def test_dry_run_prints_the_command_with_the_arguments(
  script, platform, command
):
  done = subprocess.run(
    [LAUNCH / script, '--dry_run', '--config=a.py', '--workdir=x y'],
    capture_output=True,
    text=True,
    check=True,
    env={'PATH': '/usr/bin:/bin'},
  )
  assert shlex.split(done.stdout) == [
    'env',
    f'JAX_PLATFORMS={platform}',
    *command,
    '--config=a.py',
    '--workdir=x y',
  ]


RUNNERS = pytest.mark.parametrize(
  'runner', ['direct', 'dataflow', 'flink', 'spark']
)


def _options_of(runner):
  """The options that the preparation script passes on, by its dry run."""
  place = {'PROJECT': 'p', 'REGION': 'r', 'BUCKET': 'gs://b'}
  place |= {'FLINK_MASTER': 'f:1', 'SPARK_MASTER': 's:2', 'WORKER_IMAGE': 'i'}
  done = subprocess.run(
    [LAUNCH / 'prepare_beam.sh', '--dry_run', runner, '--config=x y.py'],
    capture_output=True,
    text=True,
    check=True,
    env={'PATH': '/usr/bin:/bin', **place},
  )
  *command, options = shlex.split(done.stdout)
  assert command == [*PREPARE, '--config=x y.py']
  name, _, values = options.partition('=')
  assert name == '--beam_pipeline_options'
  return values.split(',')


@RUNNERS
def test_preparation_script_prints_the_options_of_each_runner(runner):
  first, *_ = _options_of(runner)
  assert first.lower() == f'runner={runner}runner'


@pytest.mark.slow
@RUNNERS
def test_beam_knows_the_options_of_each_runner(runner):
  beam = pytest.importorskip('apache_beam.options.pipeline_options')
  flags = [f'--{x}' for x in _options_of(runner)]
  known = beam.PipelineOptions(flags).get_all_options(drop_default=True)
  for flag in flags:
    assert flag.lstrip('-').partition('=')[0] in known


def test_preparation_script_reports_what_is_missing():
  script = LAUNCH / 'prepare_beam.sh'
  env = {'PATH': '/usr/bin:/bin'}
  for words, message in ((['flink'], 'FLINK_MASTER'), ([], 'usage:')):
    done = subprocess.run(
      [script, *words], capture_output=True, text=True, env=env
    )
    assert done.returncode and message in done.stderr


def _dask_lines(script, *words, **env):
  """The commands of a dry run of a script for Dask."""
  done = subprocess.run(
    [LAUNCH / script, '--dry_run', *words],
    capture_output=True,
    text=True,
    check=True,
    env=environment(HOST='host', PORT='1234', NUM_WORKERS='3', **env),
  )
  return [shlex.split(line) for line in done.stdout.splitlines()]


def test_dask_script_prints_the_scheduler_and_the_workers_of_each_host():
  here = _dask_lines('dask.sh', 'local')
  assert len(here) == 2
  assert {'--host=127.0.0.1', '--port=1234'} <= set(here[0])
  assert here[1][-1] == 'tcp://127.0.0.1:1234' and '--nworkers=3' in here[1]
  scheduler, *others = _dask_lines('dask.sh', 'ssh', 'a', 'b')
  assert '--host=host' in scheduler
  assert [words[:3] for words in others] == [['ssh', '-tt', x] for x in 'ab']
  for words in others:
    folder, _, command = words[3].partition(' && exec ')
    assert folder.strip() == f'cd {LAUNCH.parent}'
    assert shlex.split(command) == [*here[1][:-1], 'tcp://host:1234']
  address = 'tcp://other:1'
  (words,) = _dask_lines('dask.sh', 'workers', address)
  assert words == [*here[1][:-1], address]


def test_dask_script_reports_what_is_missing():
  for words, message in (([], 'usage:'), (['workers'], 'the address of')):
    done = subprocess.run(
      [LAUNCH / 'dask.sh', *words],
      capture_output=True,
      text=True,
      env=environment(),
    )
    assert done.returncode and message in done.stderr


def test_dask_job_adds_the_scheduler_to_its_command():
  scheduler, workers, command = _dask_lines(
    'slurm_dask.sbatch', 'mgc', 'prepare', '--config=x y.py'
  )
  assert scheduler == ['launch/dask.sh', 'scheduler']
  assert workers[0] == 'srun' and workers[-1] == 'tcp://host:1234'
  assert command == [
    *('mgc', 'prepare', '--config=x y.py', '--scheduler=tcp://host:1234')
  ]


def test_local_script_runs_the_real_command():
  process = Process([LAUNCH / 'local_gpu.sh', '--help'])
  process.wait()
  assert '--config' in process.output


def test_slurm_script_requests_what_it_needs():
  text = (LAUNCH / 'slurm_gpu.sbatch').read_text()
  for line in ('--requeue', '--gpus-per-task=1', '--ntasks-per-node=1'):
    assert f'#SBATCH {line}\n' in text


# The fields of a JobSet (jobset.x-k8s.io/v1alpha2) around its Jobs.
_JOBSET = {
  'type': 'object',
  'additionalProperties': False,
  'required': ['apiVersion', 'kind', 'metadata', 'spec'],
  'properties': {
    'apiVersion': {'const': 'jobset.x-k8s.io/v1alpha2'},
    'kind': {'const': 'JobSet'},
    'metadata': {'type': 'object', 'required': ['name']},
    'spec': {
      'type': 'object',
      'additionalProperties': False,
      'properties': {
        'network': {
          'type': 'object',
          'additionalProperties': False,
          'properties': {
            'enableDNSHostnames': {'type': 'boolean'},
            'publishNotReadyAddresses': {'type': 'boolean'},
            'subdomain': {'type': 'string'},
          },
        },
        'failurePolicy': {
          'type': 'object',
          'additionalProperties': False,
          'properties': {
            'maxRestarts': {'type': 'integer', 'minimum': 0},
            'restartStrategy': {'type': 'string'},
            'rules': {'type': 'array'},
          },
        },
        'successPolicy': {'type': 'object'},
        'suspend': {'type': 'boolean'},
        'ttlSecondsAfterFinished': {'type': 'integer', 'minimum': 0},
        'replicatedJobs': {
          'type': 'array',
          'minItems': 1,
          'items': {
            'type': 'object',
            'additionalProperties': False,
            'required': ['name', 'template'],
            'properties': {
              'name': {'type': 'string'},
              'replicas': {'type': 'integer', 'minimum': 0},
              'template': {'type': 'object', 'required': ['spec']},
              'dependsOn': {'type': 'array'},
              'groupName': {'type': 'string'},
            },
          },
        },
      },
    },
  },
}


def _validate(jobset):
  """A JobSet's own fields, then its Jobs by the schema of Kubernetes."""
  jsonschema.validate(jobset, _JOBSET)
  for job in jobset['spec']['replicatedJobs']:
    kubernetes_validate.validate(
      {
        'apiVersion': 'batch/v1',
        'kind': 'Job',
        'metadata': {'name': job['name']},
        **job['template'],
      },
      kubernetes_validate.latest_version(),
      strict=True,
    )


@pytest.fixture
def jobset():
  return yaml.safe_load((LAUNCH / 'gke_jobset.yaml').read_text())


def test_jobset_is_valid(jobset):
  _validate(jobset)


@pytest.mark.parametrize(
  'place',
  ['spec', 'spec/replicatedJobs/0', 'spec/replicatedJobs/0/template/spec'],
)
def test_a_misspelt_field_is_reported(jobset, place):
  part = jobset
  for name in place.split('/'):
    part = part[int(name) if name.isdigit() else name]
  part['replicaz'] = 1
  with pytest.raises(jsonschema.ValidationError, match='replicaz'):
    _validate(jobset)


def test_jobset_starts_the_command_of_each_pod(jobset, tmp_path):
  """What a pod would run, with a python that says how it was called."""
  (tmp_path / 'python').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
  (tmp_path / 'python').chmod(0o755)
  name = jobset['metadata']['name']
  (job,) = jobset['spec']['replicatedJobs']
  spec = job['template']['spec']
  (container,) = spec['template']['spec']['containers']
  done = subprocess.run(
    [*container['command'], *container['args']],
    env={
      'PATH': f'{tmp_path}:/usr/bin:/bin',
      'JOB_COMPLETION_INDEX': '1',
    },
    capture_output=True,
    text=True,
    check=True,
  )
  port = container['ports'][0]['containerPort']
  assert done.stdout.split() == [
    '-m',
    'mgc_jax.main',
    '--distributed',
    f'--coordinator={name}-{job["name"]}-0-0.{name}:{port}',
    f'--num_processes={spec["parallelism"]}',
    '--process_id=1',
    *container['args'],
  ]
  assert spec['parallelism'] == spec['completions'] == 2
