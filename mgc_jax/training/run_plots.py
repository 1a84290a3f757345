"""Draws the plots of a run: its data, its training, its predictions.

Plots are drawn after everything else is written; if one cannot be drawn, that
is only a warning. matplotlib is imported when something is drawn, because for a
finished run nothing is.
"""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mgc_jax.config.schema import FeaturesConfig
from mgc_jax.datasets.preparation_report import genre_counts
from mgc_jax.datasets.splits import Splits
from mgc_jax.evaluation import report
from mgc_jax.system.figure_file import never_stopping
from mgc_jax.training.metrics_log import METRICS_FILE, read_metrics

if TYPE_CHECKING:  # tensorflow: seconds to import
  from mgc_jax.datasets.reader import Reader

_FOLDER = 'plots'


def plot_data(
  workdir: pathlib.Path,
  features: FeaturesConfig,
  reader: 'Reader',
  splits: Splits,
) -> None:
  """Draws the genres' distribution and a training excerpt of each genre, once.

  Args:
    workdir: the run's folder.
    features: `config.features`, for the axes of the spectrograms.
    reader: reads the records.
    splits: the splits of the reader's index.
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
    # What an encoder returns is not a spectrogram.
    if features.extractor == 'log_mel' and not path.exists():
      from mgc_jax.evaluation import plots

      plots.plot_spectrograms(_first_excerpts(reader, splits), features, path)


def _first_excerpts(reader: 'Reader', splits: Splits) -> dict[str, np.ndarray]:
  """Returns frames f16[N, F] of each genre's first training excerpt."""
  index, examples = reader.index, splits.examples['train']
  present, first = np.unique(index.label[examples.rows], return_index=True)
  excerpts = {}
  for batch in reader.batches(examples, first, len(first)):
    for i, number in enumerate(present):
      frames = batch['frames'][i, : batch['num_frames'][i]]
      excerpts[index.genres[number]] = frames
  return excerpts


def plot_training(workdir: pathlib.Path) -> None:
  """Draws the curves of `metrics.jsonl`, unless they are up to date.

  Args:
    workdir: the folder of a run that is trained.
  """
  lines, path = workdir / METRICS_FILE, workdir / _FOLDER / 'curves.png'
  with never_stopping(path):
    if _is_older(path, lines):
      from mgc_jax.evaluation import plots

      plots.plot_curves(read_metrics(lines), path)


def plot_confusion(folder: pathlib.Path, results: dict[str, Any]) -> None:
  """Draws the confusion matrix of `results.json`, unless it is up to date.

  Args:
    folder: has the results; receives the plot.
    results: the content of `results.json`.
  """
  path = folder / _FOLDER / 'confusion_matrix.png'
  with never_stopping(path):
    if _is_older(path, folder / report.RESULTS_FILE):
      from mgc_jax.evaluation import plots

      plots.plot_confusion(results, path)


def _is_older(path: pathlib.Path, source: pathlib.Path) -> bool:
  """Returns whether a plot is missing, or older than the data it shows."""
  return not path.exists() or path.stat().st_mtime < source.stat().st_mtime
