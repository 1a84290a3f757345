import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
  ('script', 'platform'), [('local_gpu.sh', 'cuda'), ('tpu_vm.sh', 'tpu')]
)
def test_dry_run_prints_the_command_with_the_arguments(script, platform):
  done = subprocess.run(
    [ROOT / 'launch' / script, '--dry_run', '--config=a.py', '--workdir=x y'],
    capture_output=True,
    text=True,
    check=True,
    env={'PATH': '/usr/bin:/bin'},
  )
  assert done.stdout.strip() == (
    f'JAX_PLATFORMS={platform} python -m mgc_jax.main '
    '--config=a.py --workdir=x y'
  )


def test_script_runs_the_real_command():
  python = pathlib.Path(sys.executable).parent
  done = subprocess.run(
    [ROOT / 'launch' / 'local_gpu.sh', '--help'],
    capture_output=True,
    text=True,
    check=False,
    env={**os.environ, 'PATH': f'{python}:{os.environ["PATH"]}'},
  )
  assert '--config' in done.stdout
