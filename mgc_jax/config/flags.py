"""Loads a config file, with the overrides of a command line."""

import re
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from mgc_jax.config.installed import config_file
from mgc_jax.config.schema import base_config
from mgc_jax.system.arguments import expand_home
from mgc_jax.system.errors import ConfigError

# config_flags lets errors of the config file and of overrides through.
_ERRORS = (
  flags.Error,
  ArithmeticError,
  AssertionError,
  AttributeError,
  ImportError,
  LookupError,
  NameError,
  OSError,
  SyntaxError,
  TypeError,
  ValueError,
)
# Messages of Python and absl about a value of the wrong type, and ours.
_WRONG_TYPE = {
  r'invalid literal for int\(\).*': 'must be a whole number',
  r'could not convert string to float.*': 'must be a number',
  r"\('Non-boolean argument.*": 'must be true or false',
  r'Error while parsing string: .*': 'must be a list such as (8, 16)',
}


def load_config(path: str | None, overrides: Sequence[str] = ()) -> ConfigDict:
  """Returns the configuration of a config file, with its fields locked.

  A leading `~` in a text field is replaced by the home directory.

  Args:
    path: a file, or the name of one that comes with the package. None: the
      default of every field.
    overrides: `--config.FIELD=VALUE`.

  Raises:
    ConfigError: the file cannot be loaded, a field does not exist, or a value
      is of another type.
  """
  values = flags.FlagValues()
  arguments = ['mgc', *overrides]
  try:
    if path is None:
      config_flags.DEFINE_config_dict(
        'config', base_config(), flag_values=values, sys_argv=arguments
      )
    else:
      arguments.insert(1, f'--config={config_file(path)}')
      config_flags.DEFINE_config_file(
        'config', flag_values=values, sys_argv=arguments
      )
    values(arguments)
    config = values.config
    _expand(config)
  except _ERRORS as error:
    raise ConfigError(_message(error)) from error
  return config


def _expand(config: ConfigDict) -> None:
  """Replaces a leading `~` in every text field, in place.

  Lists are left alone: they hold names, not paths.
  """
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      _expand(value)
    elif isinstance(value, str) and value.startswith('~'):
      config[name] = expand_home(value)


def _message(error: Exception) -> str:
  """Returns a readable message for one of `_ERRORS`."""
  message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
  found = re.fullmatch(r'["\']+(\w+)["\']+(?:\n(Did you .*))?', message)
  if found:  # ConfigDict's own
    hint = f'{found[2]} ' if found[2] else ''
    return (
      f'config: no field {found[1]}; {hint}mgc_jax/config/schema.py lists all'
    )
  for pattern, ours in _WRONG_TYPE.items():
    message = re.sub(pattern, ours, message, flags=re.DOTALL)
  return message
