"""The pictures of a run: its data, its training, its predictions.

They are drawn after everything else is written, and one that cannot be drawn is
a warning. matplotlib is imported where something is drawn: a finished run draws
nothing.
"""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from mgc_jax.datasets.preparation_report import genre_counts
from mgc_jax.datasets.splits import Splits
from mgc_jax.evaluation import report
from mgc_jax.system.figure_file import never_stopping

if TYPE_CHECKING:  # tensorflow: seconds to import
  from mgc_jax.datasets.reader import Reader

_FOLDER = 'plots'


def plot_data(
  workdir: pathlib.Path, config: ConfigDict, reader: 'Reader', splits: Splits
) -> None:
  """Draws the data once: distribution, and a training excerpt per genre.

  Args:
    workdir: of the run.
    config: `features` says what bands and frames are.
    reader: of the records.
    splits: of the reader's index.
  """
  index = reader.index
  path = workdir / _FOLDER / 'distribution.png'
  with never_stopping(path):
    if not path.exists():
      from mgc_jax.evaluation import plots

      counts = genre_counts(index, splits)
      plots.plot_distribution(counts, index.genres, path)
  path = workdir / _FOLDER / 'spectrograms.png'
  with never_stopping(path):
    if not path.exists():
      from mgc_jax.evaluation import plots

      features = FrozenConfigDict(config.features)
      plots.plot_spectrograms(_first_excerpts(reader, splits), features, path)


def _first_excerpts(reader: 'Reader', splits: Splits) -> dict[str, np.ndarray]:
  """Returns f16[N, F] frames of the first training excerpt of each genre."""
  index, examples = reader.index, splits.examples['train']
  present, first = np.unique(index.label[examples.rows], return_index=True)
  excerpts = {}
  for batch in reader.batches(examples, first, len(first)):
    for i, number in enumerate(present):
      frames = batch['frames'][i, : batch['num_frames'][i]]
      excerpts[index.genres[number]] = frames
  return excerpts


def plot_training(workdir: pathlib.Path) -> None:
  """Draws the curves of `metrics.jsonl`, unless they are drawn already.

  Args:
    workdir: of the run, trained.
  """
  from mgc_jax.training.metrics_log import read_metrics
  from mgc_jax.training.trainer import METRICS_FILE

  lines, path = workdir / METRICS_FILE, workdir / _FOLDER / 'curves.png'
  with never_stopping(path):
    if _is_older(path, lines):
      from mgc_jax.evaluation import plots

      plots.plot_curves(read_metrics(lines), path)


def plot_confusion(folder: pathlib.Path, results: dict[str, Any]) -> None:
  """Draws the confusion matrix of `results.json`, unless it is drawn already.

  Args:
    folder: of the results.
    results: as they are written there.
  """
  path = folder / _FOLDER / 'confusion_matrix.png'
  with never_stopping(path):
    if _is_older(path, folder / report.RESULTS_FILE):
      from mgc_jax.evaluation import plots

      plots.plot_confusion(results, path)


def _is_older(path: pathlib.Path, source: pathlib.Path) -> bool:
  """Returns whether a picture is missing, or older than what it shows."""
  return not path.exists() or path.stat().st_mtime < source.stat().st_mtime
