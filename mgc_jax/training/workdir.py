"""The folder of a run: its name, its settings, and who may continue it."""

import contextlib
import errno
import hashlib
import json
import logging
import pathlib
from collections.abc import Iterator

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from mgc_jax.distributed.mesh import is_writer
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.lock import exclusive

_logger = logging.getLogger(__name__)

CONFIG_FILE = 'config.json'
_LOCK_FILE = '.lock'
_DISK_ERRORS = (
  errno.EACCES,
  errno.EDQUOT,
  errno.EFBIG,
  errno.ENOSPC,
  errno.EPERM,
  errno.EROFS,
)
# What may differ between two commands of one run: it changes no result.
FREE_FIELDS = (
  'data.num_workers',
  'data.prepared_dir',
  'data.allow_missing',
  'data.cache',
  'data.root',
  'model.num_genres',  # filled from the data
  'train.checkpoint_every_steps',
)


def resolve_workdir(
  workdir: str | None, config: ConfigDict, config_path: str, mode: str
) -> pathlib.Path:
  """Returns the folder of a run; a default one is named by its settings.

  Args:
    workdir: as given on the command line.
    config: the configuration, overrides applied.
    config_path: of the config file.
    mode: train or evaluate.

  Raises:
    ConfigError: there is none to evaluate.
  """
  if workdir:
    return pathlib.Path(workdir)
  if mode == 'evaluate':
    raise ConfigError('--workdir: unset; name the run to evaluate')
  digest = hashlib.sha256(config.to_json(sort_keys=True).encode()).hexdigest()
  path = pathlib.Path('runs') / f'{pathlib.Path(config_path).stem}-{digest[:8]}'
  _logger.info('--workdir is not set; using %s', path)
  return path


@contextlib.contextmanager
def locked_workdir(workdir: pathlib.Path) -> Iterator[None]:
  """Makes the folder of a run and keeps every other run out of it.

  Of several processes of one run the writing one does that.

  Args:
    workdir: of the run.

  Raises:
    DataError: another process runs in it, or it cannot be used; also where
      the disk becomes full meanwhile.
  """

  def refuse() -> None:
    raise DataError(
      f'{workdir}: another process is at work on this run; wait for its end, '
      'or use another --workdir'
    )

  with contextlib.ExitStack() as stack:
    try:
      if is_writer():
        workdir.mkdir(parents=True, exist_ok=True)
        stack.enter_context(exclusive(workdir / _LOCK_FILE, refuse))
    except OSError as error:
      raise DataError(f'{workdir}: cannot be used: {error}') from error
    try:
      yield
    except OSError as error:
      if error.errno not in _DISK_ERRORS:
        raise
      raise DataError(
        f'{workdir}: cannot be written ({error}); what was saved before is '
        'whole, and with room for more the same command continues'
      ) from error


def check_workdir(config: ConfigDict, workdir: pathlib.Path) -> None:
  """Compares the settings with those of the run in the folder, if any.

  Args:
    config: the configuration, overrides applied.
    workdir: of the run.

  Raises:
    ConfigError: the run there has other settings; names the field.
    DataError: the folder cannot be used, or its `config.json` is damaged.
  """
  path = workdir / CONFIG_FILE
  wanted = flatten_dict(json.loads(config.to_json()), sep='.')
  try:
    if not path.exists():
      return
    content = dict(json.loads(path.read_text(encoding='utf-8')))
    found = flatten_dict(content, sep='.')
  except OSError as error:
    raise DataError(f'{workdir}: cannot be used: {error}') from error
  except (TypeError, ValueError) as error:
    raise DataError(
      f'{path}: damaged ({error}); use another --workdir'
    ) from error
  names = sorted(wanted.keys() | found.keys())
  for name in names:
    if name not in FREE_FIELDS and wanted.get(name) != found.get(name):
      raise ConfigError(
        f'config.{name}={wanted.get(name)}: the run in {workdir} has '
        f'{found.get(name)}; use another --workdir'
      )
