"""The folder of a run: its name, its settings, and who may continue it."""

import hashlib
import json
import logging
import pathlib
from typing import Any

from ml_collections import ConfigDict

from mgc_jax.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

CONFIG_FILE = 'config.json'
# What may differ between two commands of one run: it changes no result.
_FREE_FIELDS = (
  'data.num_workers',
  'data.prepared_dir',
  'data.allow_missing',
  'data.root',
  'model.num_genres',  # filled from the data
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


def check_workdir(config: ConfigDict, workdir: pathlib.Path) -> None:
  """Makes the folder, or compares the settings of the run in it.

  Args:
    config: the configuration, overrides applied.
    workdir: of the run.

  Raises:
    ConfigError: the run there has other settings; names the field.
    DataError: the folder cannot be used, or its `config.json` is damaged.
  """
  path = workdir / CONFIG_FILE
  wanted = _flat(json.loads(config.to_json()))
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
      return
    found = _flat(dict(json.loads(path.read_text(encoding='utf-8'))))
  except OSError as error:
    raise DataError(f'{workdir}: cannot be used: {error}') from error
  except (TypeError, ValueError) as error:
    raise DataError(
      f'{path}: damaged ({error}); use another --workdir'
    ) from error
  names = sorted(wanted.keys() | found.keys())
  for name in names:
    if name not in _FREE_FIELDS and wanted.get(name) != found.get(name):
      raise ConfigError(
        f'config.{name}={wanted.get(name)}: the run in {workdir} has '
        f'{found.get(name)}; use another --workdir'
      )


def _flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      flat.update(_flat(value, f'{prefix}{name}.'))
    else:
      flat[f'{prefix}{name}'] = value
  return flat
