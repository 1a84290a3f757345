"""Runs the training command for each run of a sweep."""

import ctypes
import re
import signal
import subprocess
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from mgc_jax.config.schema import validate
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError, DataError


def load_config(path: str, overrides: tuple[str, ...]) -> ConfigDict:
  """Returns the configuration that the training command would have.

  Args:
    path: path of the config file.
    overrides: `--config.FIELD=VALUE` of a run.

  Raises:
    ConfigError: a field is unknown or its value is invalid.
  """
  values = flags.FlagValues()
  arguments = ['sweep', f'--config={path}', *overrides]
  config_flags.DEFINE_config_file(
    'config', lock_config=True, flag_values=values, sys_argv=arguments
  )
  try:
    values(arguments)
    command_line.expand_config(values.config)
    return values.config
  except command_line.FLAG_ERRORS as error:
    raise ConfigError(command_line.flag_message(error)) from error


def check_run(config: str, run: Run) -> ConfigDict:
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

  found = load_config(config, run.overrides)
  validate(found)
  check_init_from(found)
  check_workdir(found, run.workdir)
  return found


def parse_seeds(words: list[str]) -> list[int]:
  """Parses `--seeds`; raises `ConfigError` if a word is no number."""
  try:
    return [int(word) for word in words]
  except ValueError as error:
    raise ConfigError(f'--seeds={words}: {error}') from error


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


def take_overrides(argv: list[str]) -> list[str]:
  """Removes all `--config.FIELD=...` from the arguments and returns them."""
  found = [arg for arg in argv if re.match(r'--?config\.', arg)]
  argv[:] = [arg for arg in argv if arg not in found]
  return [f'--{arg.lstrip("-")}' for arg in found]
