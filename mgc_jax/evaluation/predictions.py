"""A model's predictions: the logits of all windows, saved in the run folder."""

import csv
import dataclasses
import os
import pathlib
import tokenize
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from mgc_jax.evaluation import metrics
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

# What numpy raises for a manipulated or truncated archive.
_DAMAGES = (
  ArithmeticError,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  OSError,
  RuntimeError,
  SyntaxError,
  TypeError,
  ValueError,
  tokenize.TokenError,
  zipfile.BadZipFile,
  zlib.error,
)
LOGITS_FILE = 'logits.npz'
CSV_FILE = 'predictions.csv'


@dataclasses.dataclass(frozen=True)
class Predictions:
  """Logits of E examples, which are excerpts or windows of tracks."""

  logits: np.ndarray  # f32[E, W, C], before temperature scaling
  mask: np.ndarray  # bool[E, W], True where the window is real
  label: np.ndarray  # i64[E]
  track_id: np.ndarray  # str[E]
  genres: tuple[str, ...]  # names of the C genres
  artist: np.ndarray | None = None  # str[E], '' if unknown; None: not saved

  def tracks(self) -> np.ndarray:
    """Returns str[tracks], the ids in the order of all per-track arrays."""
    return np.unique(self.track_id)

  def track_label(self) -> np.ndarray:
    """Returns i64[tracks], the true genre of each track."""
    return self.label[np.unique(self.track_id, return_index=True)[1]]

  def track_artist(self) -> np.ndarray | None:
    """Returns str[tracks], or the track's own id if its artist is unknown.

    None if no artist is known, as in predictions of versions that did not save
    artists.
    """
    tracks, first = np.unique(self.track_id, return_index=True)
    if self.artist is None or not (self.artist != '').any():
      return None
    artist = self.artist[first]
    return np.where(artist == '', tracks, artist)

  def track_probabilities(self, temperature: float = 1.0) -> np.ndarray:
    """Returns f64[tracks, C], see `metrics.track_probabilities`.

    Args:
      temperature: the logits are divided by it.
    """
    track = np.unique(self.track_id, return_inverse=True)[1]
    return metrics.track_probabilities(
      self.logits, self.mask, track, temperature
    )


def artist_ci95(
  parts: Sequence[Predictions],
  num_bootstrap: int,
  temperature: float = 1.0,
) -> list[float] | None:
  """Returns the interval of the track accuracy when artists are resampled.

  Args:
    parts: the predictions of one model, or of each fold of a cross-validation;
      no track is in two of them.
    num_bootstrap: number of bootstrap samples.
    temperature: the logits are divided by it.

  Returns:
    [lo, hi], 95 %; None if a part has no known artist, or if all tracks are by
    one artist.
  """
  found = [part.track_artist() for part in parts]
  artists = [artist for artist in found if artist is not None]
  if len(artists) < len(parts):
    return None
  correct = [
    part.track_probabilities(temperature).argmax(axis=1) == part.track_label()
    for part in parts
  ]
  return metrics.grouped_bootstrap_ci95(
    np.concatenate(correct), np.concatenate(artists), num_bootstrap
  )


def write(
  predictions: Predictions, workdir: pathlib.Path, temperature: float
) -> None:
  """Writes `logits.npz`, and a readable table `predictions.csv`.

  Args:
    predictions: uncalibrated.
    workdir: folder of the run.
    temperature: applied to the probabilities in the table.
  """
  columns = dataclasses.asdict(predictions)
  columns['genres'] = np.array(columns['genres'], dtype=str)
  if predictions.artist is None:
    del columns['artist']
  with (
    atomic_file.writing(workdir / LOGITS_FILE) as partial,
    partial.open('wb') as file,
  ):
    np.savez(file, **columns)
  probabilities = predictions.track_probabilities(temperature)
  genres = [printable(genre) for genre in predictions.genres]
  with (
    atomic_file.writing(workdir / CSV_FILE) as partial,
    partial.open('w', newline='', encoding='utf-8') as file,
  ):
    writer = csv.writer(file)
    writer.writerow(['track_id', 'genre', 'answer', *genres])
    for track, label, row in zip(
      predictions.tracks(),
      predictions.track_label(),
      probabilities,
      strict=True,
    ):
      numbers = [f'{value:.4f}' for value in row]
      names = [printable(track), genres[label], genres[row.argmax()]]
      writer.writerow([*names, *numbers])


def read(workdir: str | os.PathLike) -> Predictions:
  """Reads the `logits.npz` of a run.

  Args:
    workdir: folder of a run that has been evaluated.

  Raises:
    DataError: the file is missing or damaged.
  """
  path = pathlib.Path(workdir) / LOGITS_FILE
  # Reading a pipe would wait, and reading a device might never end.
  if path.exists() and not path.is_file():
    raise DataError(f'{path}: not a file')
  try:
    # If numpy opens a damaged file itself, it does not close it.
    with path.open('rb') as file, np.load(file, allow_pickle=False) as columns:
      found = {name: columns[name] for name in columns}
    found['genres'] = tuple(map(str, found['genres']))
    predictions = Predictions(**found)
    _check(predictions)
  except _DAMAGES as error:
    raise DataError(
      f'{path}: {error}; run its training command again'
    ) from error
  return predictions


def _check(predictions: Predictions) -> None:
  """Raises `ValueError` if shapes, types or values are inconsistent."""
  num, width = predictions.mask.shape
  artist = predictions.artist
  columns = [predictions.label, predictions.track_id]
  columns.append(columns[1] if artist is None else artist)
  kinds = [x.dtype.kind for x in (predictions.logits, predictions.mask)]
  kinds += [x.dtype.kind for x in columns]
  shapes = {x.shape for x in columns}
  count = len(predictions.genres)
  if not (
    num
    and predictions.logits.shape == (num, width, count)
    and shapes == {(num,)}
    and kinds == ['f', 'b', 'i', 'U', 'U']
    and np.isfinite(predictions.logits).all()
    and predictions.mask.any(axis=1).all()
    and 0 <= predictions.label.min() <= predictions.label.max() < count
  ):
    raise ValueError('its arrays are inconsistent')
