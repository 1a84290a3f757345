"""Finds the config files and the published lists that come with the package.

They are in `configs/` and `data/` of the repository; a wheel has copies of both
inside the package.
"""

import os
import pathlib

_PACKAGE = pathlib.Path(__file__).parents[1]


def folder(name: str) -> pathlib.Path:
  """Returns the folder `configs` or `data`.

  Args:
    name: which of the two.
  """
  inside = _PACKAGE / name
  return inside if inside.is_dir() else _PACKAGE.parent / name


def config_file(name: str) -> str:
  """Returns the path of a config file.

  Args:
    name: a file, or the name of one that comes with the package, such as
      `configs/crnn.py`, `crnn` or `baseline/crnn`. The file is used if both
      exist; the name is returned as it is if neither does.
  """
  if os.path.isfile(name):
    return name
  short = name.removeprefix('configs/').removesuffix('.py')
  found = folder('configs') / f'{short}.py'
  return str(found) if found.is_file() else name
