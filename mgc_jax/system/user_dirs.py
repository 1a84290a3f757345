"""The user's folders for cached files and for persistent data."""

import os
import pathlib
import tempfile

from mgc_jax.system.errors import ConfigError


def cache_folder(*parts: str) -> pathlib.Path | None:
  """Returns a folder in the user's cache, or None if it cannot be used.

  There is no fallback, because in a shared folder such as /tmp another user
  could plant code under the same name.

  Args:
    *parts: the path of the folder, relative to the cache.
  """
  try:
    folder = user_cache_dir().joinpath(*parts)
  except ConfigError:  # a user without a home folder
    return None
  return folder if is_usable(folder) else None


def is_usable(folder: pathlib.Path) -> bool:
  """Returns whether a folder can be read and written; creates it if missing.

  Args:
    folder: a folder for cached files.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    os.listdir(folder)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
      file.write(b'x')  # fails on a full disk
  except OSError:
    return False
  return True


def user_cache_dir() -> pathlib.Path:
  """Returns the absolute path of the folder for files that can be recreated.

  Raises:
    ConfigError: the user has no home folder, and XDG_CACHE_HOME names none.
  """
  return _user_dir('XDG_CACHE_HOME', '.cache')


def user_data_dir() -> pathlib.Path:
  """Returns the absolute path of the folder for files that must be kept.

  Raises:
    ConfigError: the user has no home folder, and XDG_DATA_HOME names none.
  """
  return _user_dir('XDG_DATA_HOME', '.local/share')


def _user_dir(variable: str, place: str) -> pathlib.Path:
  folder = os.environ.get(variable)
  try:
    folder = folder or pathlib.Path.home() / place
  except RuntimeError as error:  # e.g. in a container, for an unnamed user
    raise ConfigError(
      f'this user has no home folder; set {variable} to a folder'
    ) from error
  return pathlib.Path(folder).absolute() / 'mgc_jax'
