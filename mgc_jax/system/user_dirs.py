"""Folders of this user: a cache, and data that cannot be made again."""

import os
import pathlib
import tempfile

from mgc_jax.system.errors import ConfigError


def cache_folder(*parts: str) -> pathlib.Path | None:
  """Returns a folder of the user's cache, or None where it cannot be used.

  There is no other place for it: in a shared folder such as /tmp another user
  could put code under the same name.

  Args:
    *parts: names of the folder and those above it, within the cache.
  """
  try:
    folder = user_cache_dir().joinpath(*parts)
  except ConfigError:  # a user without a home folder
    return None
  return folder if is_usable(folder) else None


def is_usable(folder: pathlib.Path) -> bool:
  """Returns whether a folder exists, or can be made, and is read and written.

  Args:
    folder: of a cache.
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
  """Returns the folder for what can be made again, absolute.

  Raises:
    ConfigError: the user has no home folder, and XDG_CACHE_HOME names none.
  """
  return _user_dir('XDG_CACHE_HOME', '.cache')


def user_data_dir() -> pathlib.Path:
  """Returns the folder for what cannot be made again, absolute.

  Raises:
    ConfigError: the user has no home folder, and XDG_DATA_HOME names none.
  """
  return _user_dir('XDG_DATA_HOME', '.local/share')


def _user_dir(variable: str, place: str) -> pathlib.Path:
  folder = os.environ.get(variable)
  try:
    folder = folder or pathlib.Path.home() / place
  except RuntimeError as error:  # as in a container, of a user without a name
    raise ConfigError(
      f'this user has no home folder; set {variable} to a folder'
    ) from error
  return pathlib.Path(folder).absolute() / 'mgc_jax'
