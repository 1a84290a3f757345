"""Reads the facts about published tracks that come with the package."""

import csv
import functools
import pathlib

from mgc_jax.config.installed import folder
from mgc_jax.system.errors import DataError


def path(name: str) -> pathlib.Path:
  """Returns the path of a file in `data/`."""
  return folder('data') / name


def manifest_path(name: str) -> pathlib.Path:
  """Returns the path of the manifest of a published split.

  Args:
    name: without its extension, e.g. `gtma_artist`.
  """
  return path('manifests') / f'{name}.csv'


@functools.cache
def replica_groups() -> dict[str, str]:
  """Returns the group of each of GTZAN's exact replicas, by `track_id`."""
  return _column('gtzan_replicas.csv', 'replica_group')


@functools.cache
def unreadable_fma() -> dict[str, str]:
  """Returns the fault of each known bad track of FMA, by `track_id`."""
  return _column('fma_unreadable.csv', 'fault')


@functools.cache
def gtzan_digests() -> dict[str, str]:
  """Returns the MD5 of each file of GTZAN's `.wav` edition, by `track_id`."""
  return _column('gtzan_digests.csv', 'md5')


def read_facts(table: pathlib.Path) -> list[dict[str, str]]:
  """Returns the rows of a CSV in `data/`.

  Args:
    table: the path of the CSV.

  Raises:
    DataError: the file is missing.
  """
  try:
    with table.open(newline='', encoding='utf-8') as file:
      return list(csv.DictReader(file))
  except OSError as error:
    raise DataError(
      f'{table}: {error.strerror}; the lists of GTZAN and FMA come with the '
      'package: install it again'
    ) from error


def _column(file: str, name: str) -> dict[str, str]:
  return {row['track_id']: row[name] for row in read_facts(path(file))}
