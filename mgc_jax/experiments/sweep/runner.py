"""Runs the training command for each run of a sweep."""

import ctypes
import signal
import subprocess
import sys

from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import Config
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.system.errors import ConfigError, DataError


def check_run(config: str, run: Run) -> Config:
  """Returns a run's configuration, after all checks that need no data.

  All runs are checked before the first one is trained, which may take hours.

  Args:
    config: path of the config file.
    run: a run to start or resume.

  Raises:
    ConfigError: a field is invalid, or the run in the folder has other
      settings.
    DataError: the bundle of `train.init_from` cannot be read.
  """
  # These import JAX.
  from mgc_jax.training.finetune import check_init_from
  from mgc_jax.training.workdir import check_workdir

  found = Config.from_dict(load_config(config, run.overrides))
  check_init_from(found)
  check_workdir(found, run.workdir)
  return found


def parse_seeds(words: list[str]) -> list[int]:
  """Parses `--seeds`; raises `ConfigError` if a word is no number."""
  try:
    return [int(word) for word in words]
  except ValueError as error:
    given = ','.join(words)
    raise ConfigError(
      f'--seeds={given}: must be whole numbers, separated by commas'
    ) from error


def train(config: str, run: Run) -> None:
  """Trains and evaluates one run in a separate process.

  Args:
    config: path of the config file.
    run: a run to start or resume.

  Raises:
    DataError: the run failed; it has printed the reason.
  """
  command = [sys.executable, '-m', 'mgc_jax.main', f'--config={config}']
  command += [*run.overrides, f'--workdir={run.workdir}']
  # Only its log is shown: its table is also in results.json.
  done = subprocess.run(
    command,
    stdout=subprocess.DEVNULL,
    check=False,
    preexec_fn=_end_with_parent if sys.platform == 'linux' else None,
  )
  if done.returncode:
    raise DataError(
      f'{run.workdir}: this run ended with exit code {done.returncode} for '
      'the reason above; the same command resumes it'
    )


def _end_with_parent() -> None:
  """Makes Linux kill this process when the sweep dies."""
  set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
  ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
