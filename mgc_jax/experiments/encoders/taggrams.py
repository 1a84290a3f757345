"""Converts published taggrams to the frames of `extractor=musicnn_tags`."""

import csv
import pathlib

import numpy as np
from tqdm import tqdm

from mgc_jax.config.schema import ENCODERS
from mgc_jax.datasets.csv_table import read_rows
from mgc_jax.features.frames import log_odds
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError

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
  if taggrams.ndim != 2 or taggrams.shape[1] != num_tags:
    raise DataError(f'{path}: shape {taggrams.shape}, not [rows, {num_tags}]')
  found = []
  for line, row in tqdm(list(read_rows(source / 'manifest.csv', _COLUMNS))):
    name = f'{row["genre"]}/{pathlib.PurePath(row["track_id"]).name}.npy'
    try:
      first, count = int(row['first_row']), int(row['num_rows'])
      if not 0 <= first < first + count <= len(taggrams):
        raise ValueError(f'rows {first} to {first + count} do not exist')
      frames = log_odds(taggrams[first : first + count]).astype(np.float16)
      (target / name).parent.mkdir(parents=True, exist_ok=True)
      np.save(target / name, frames)
    except (OSError, ValueError) as error:
      raise DataError(f'{source}/manifest.csv, line {line}: {error}') from error
    found.append({**row, 'path': name})
  with atomic_file.writing(target / 'manifest.csv') as partial:
    with partial.open('w', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, _KEPT, extrasaction='ignore', restval='')
      writer.writeheader()
      writer.writerows(found)
  return len(found)
