"""Converts published taggrams to the frames of `extractor=musicnn_tags`."""

import csv
import pathlib
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from mgc_jax.config.schema import ENCODERS
from mgc_jax.datasets.csv_table import read_rows
from mgc_jax.features.frames import log_odds
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

_COLUMNS = ('track_id', 'genre', 'first_row', 'num_rows')
_KEPT = ('path', 'track_id', 'genre', 'split', 'artist', 'title')


def convert(source: pathlib.Path, target: pathlib.Path) -> int:
  """Writes a `.npy` file for each track, and the manifest that lists them.

  Args:
    source: a folder with `taggrams.npy`, f32[rows, 50] probabilities of
      musicnn's tags, and `manifest.csv`, whose columns `first_row` and
      `num_rows` say which rows a track has.
    target: the folder to write to, which is created. A manifest in it is the
      last file that is written.

  Returns:
    The number of tracks.

  Raises:
    DataError: a file is missing or damaged, or cannot be written.
  """
  path = source / 'taggrams.npy'
  try:
    taggrams = np.load(path, mmap_mode='r', allow_pickle=False)
  except (OSError, ValueError) as error:
    raise DataError(f'{path}: cannot be read ({error})') from error
  num_tags = ENCODERS['musicnn_tags']['num_bands']
  is_real = np.issubdtype(taggrams.dtype, np.floating)
  if not is_real or taggrams.ndim != 2 or taggrams.shape[1] != num_tags:
    shape = f'{taggrams.dtype}{list(taggrams.shape)}'
    raise DataError(f'{path}: {shape}, not floats of shape [rows, {num_tags}]')
  found = {}
  for line, row in tqdm(read_rows(source / 'manifest.csv', _COLUMNS)):
    try:
      name = _file_name(row)
      if name in found:
        raise ValueError(f'{name} is already that of another track')
      frames = _frames(taggrams, int(row['first_row']), int(row['num_rows']))
      (target / name).parent.mkdir(parents=True, exist_ok=True)
      np.save(target / name, frames)
    except (OSError, ValueError) as error:
      raise DataError(f'{source}/manifest.csv, line {line}: {error}') from error
    found[name] = {**row, 'path': name}
  if not found:
    raise DataError(f'{source}/manifest.csv: lists no tracks')
  try:
    _write_manifest(target / 'manifest.csv', found.values())
  except OSError as error:
    raise DataError(f'{target}/manifest.csv: {error.strerror}') from error
  return len(found)


def _file_name(row: dict[str, str]) -> str:
  """Returns `<genre>/<end of the track_id>.npy`.

  Raises:
    ValueError: it would be elsewhere than in the folder of the genre.
  """
  genre, track_id = row['genre'], row['track_id']
  track = pathlib.PurePath(track_id).name
  if genre in ('', '..') or genre != pathlib.PurePath(genre).name:
    name = printable(genre)
    raise ValueError(f'genre {name}: cannot be the name of a folder')
  if track in ('', '..'):
    name = printable(track_id)
    raise ValueError(f'track_id {name}: cannot be the name of a file')
  return f'{genre}/{track}.npy'


def _frames(taggrams: np.ndarray, first: int, count: int) -> np.ndarray:
  """Returns f16[count, 50], the frames of a track.

  Raises:
    ValueError: there are no such rows, or they are not probabilities.
  """
  if not 0 <= first < first + count <= len(taggrams):
    raise ValueError(f'rows {first} to {first + count} do not exist')
  rows = taggrams[first : first + count]
  if not ((rows >= 0) & (rows <= 1)).all():  # False for NaN as well
    raise ValueError(f'rows {first} to {first + count} are not probabilities')
  return log_odds(rows).astype(np.float16)


def _write_manifest(path: pathlib.Path, rows: Iterable[dict]) -> None:
  with atomic_file.writing(path) as partial:
    with partial.open('w', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, _KEPT, extrasaction='ignore', restval='')
      writer.writeheader()
      writer.writerows(rows)
