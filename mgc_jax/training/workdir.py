"""The folder of a run: its name, its lock, and its settings."""

import contextlib
import errno
import hashlib
import json
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from mgc_jax.config import versions
from mgc_jax.config.schema import Config, TrainConfig
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.lock import exclusive
from mgc_jax.training.run_writer import CONFIG_FILE, RunWriter

_logger = logging.getLogger(__name__)

_LOCK_FILE = '.lock'
_DISK_ERRORS = (
  errno.EACCES,
  errno.EDQUOT,
  errno.EFBIG,
  errno.ENOSPC,
  errno.EPERM,
  errno.EROFS,
)
# Fields that may differ when a run is continued; they change no result.
FREE_FIELDS = (
  'data.num_workers',
  'data.prepared_dir',
  'data.allow_missing',
  'data.cache',
  'data.root',
  'model.num_genres',  # filled from the data
  'train.checkpoint_every_steps',
  'train.tensorboard',
)


def resolve_workdir(
  workdir: str | None, config: ConfigDict, config_path: str, mode: str
) -> pathlib.Path:
  """Returns the folder of a run; by default it is named after the settings.

  Args:
    workdir: the value of --workdir, or None.
    config: the configuration, overrides applied.
    config_path: path of the config file, whose name begins the folder's.
    mode: train or evaluate.

  Raises:
    ConfigError: no run to evaluate is specified.
  """
  if workdir:
    return pathlib.Path(workdir)
  if mode == 'evaluate':
    raise ConfigError('--workdir: not set; specify the run to evaluate')
  digest = hashlib.sha256(config.to_json(sort_keys=True).encode()).hexdigest()
  path = pathlib.Path('runs') / f'{pathlib.Path(config_path).stem}-{digest[:8]}'
  _logger.info('--workdir is not set; using %s', path)
  return path


@contextlib.contextmanager
def locked_workdir(workdir: pathlib.Path) -> Iterator[RunWriter]:
  """Makes the folder of a run, and locks it against other runs.

  Of the several processes of a run, the one that writes holds the lock.

  Args:
    workdir: the folder.

  Yields:
    The object that writes to it.

  Raises:
    DataError: another run uses the folder, or it cannot be written, for example
      because the disk is full.
  """
  writer = RunWriter(workdir)

  def refuse() -> None:
    raise DataError(
      f'{workdir}: another process is using this run; wait until it '
      'ends, or use another --workdir'
    )

  with contextlib.ExitStack() as stack:
    try:
      if writer.is_active:
        workdir.mkdir(parents=True, exist_ok=True)
        stack.enter_context(exclusive(workdir / _LOCK_FILE, refuse))
    except OSError as error:
      raise DataError(f'{workdir}: cannot be used: {error}') from error
    try:
      yield writer
    except OSError as error:
      if error.errno not in _DISK_ERRORS:
        raise
      raise DataError(
        f'{workdir}: cannot be written ({error}); what was saved before is '
        'complete, and the same command continues once there is space'
      ) from error


def read_settings(path: pathlib.Path) -> dict[str, Any]:
  """Returns the sections in the `config.json` of a run, of any version.

  Args:
    path: the file.

  Raises:
    OSError, TypeError, ValueError: it cannot be read, or is damaged.
  """
  found = versions.upgrade(dict(json.loads(path.read_text(encoding='utf-8'))))
  found.pop(versions.VERSION_FIELD, None)
  return found


def check_workdir(config: Config, workdir: pathlib.Path) -> None:
  """Compares the settings with those of the run in the folder, if there is one.

  A run may be given more epochs if its learning rate stays constant, so that
  the epochs done are those of the longer run.

  Args:
    config: the configuration, overrides applied.
    workdir: the folder; it need not exist.

  Raises:
    ConfigError: the run there has other settings; names the field. So it does
      if another version of the program, with other fields, has started it.
    DataError: the folder cannot be used, or its `config.json` is damaged.
  """
  path = workdir / CONFIG_FILE
  wanted = flatten_dict(json.loads(json.dumps(config.to_dict())), sep='.')
  try:
    if not path.exists():
      return
    found = flatten_dict(read_settings(path), sep='.')
  except OSError as error:
    raise DataError(f'{workdir}: cannot be used: {error}') from error
  except (TypeError, ValueError) as error:
    raise DataError(
      f'{path}: damaged ({error}); use another --workdir'
    ) from error
  only_one = (wanted.keys() ^ found.keys()).difference(FREE_FIELDS)
  if only_one:
    names = ', '.join(f'config.{name}' for name in sorted(only_one))
    raise ConfigError(
      f'{path}: the run there was started by another version of this program '
      f'(only one of them has {names}); use another --workdir'
    )
  for name in sorted(wanted.keys() - set(FREE_FIELDS)):
    if wanted[name] == found[name]:
      continue
    reason = ''
    if name == 'train.num_epochs':
      reason = _reason_against_epochs(config.train, found[name])
      if reason is None:
        continue
    raise ConfigError(
      f'config.{name}={wanted[name]}: the run in {workdir} has '
      f'{found[name]}{reason}; use another --workdir'
    )


def _reason_against_epochs(train: TrainConfig, num_epochs: Any) -> str | None:
  """Returns what to add about another number of epochs; None if it may be.

  Args:
    train: has the wanted number.
    num_epochs: that of the run so far.
  """
  if not isinstance(num_epochs, int) or train.num_epochs < num_epochs:
    return ''
  if train.schedule == 'constant' and train.warmup_epochs <= num_epochs:
    return None
  return (
    ', and its learning rate depends on their number; only a run with '
    'config.train.schedule=constant can be given more'
  )
