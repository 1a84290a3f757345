"""The pictures of a run: its data, its training, its answers.

matplotlib is imported where something is drawn: a finished run draws nothing.
"""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from mgc_jax import report
from mgc_jax.datasets.splits import Split

if TYPE_CHECKING:  # tensorflow: seconds to import
  from mgc_jax.input_pipeline import Reader

_FOLDER = 'plots'


def plot_data(
  workdir: pathlib.Path, config: ConfigDict, reader: 'Reader', split: Split
) -> None:
  """Draws the data once: distribution, and a training excerpt per genre.

  Args:
    workdir: of the run.
    config: `features` says what bands and frames are.
    reader: of the records.
    split: of the reader's index.
  """
  index, folder = reader.index, workdir / _FOLDER
  if (folder / 'spectrograms.png').exists():
    return
  from mgc_jax import plots

  counts = report.genre_counts(index, split)
  plots.plot_distribution(counts, index.genres, folder / 'distribution.png')
  label = index.label[split.sides['train'].rows]
  present, first = np.unique(label, return_index=True)
  excerpts = {}
  for batch in reader.batches(split.sides['train'], first, len(first)):
    for i, number in enumerate(present):
      frames = batch['frames'][i, : batch['num_frames'][i]]
      excerpts[index.genres[number]] = frames
  plots.plot_spectrograms(
    excerpts, FrozenConfigDict(config.features), folder / 'spectrograms.png'
  )


def plot_training(workdir: pathlib.Path) -> None:
  """Draws the curves of `metrics.jsonl`, where it is newer than they are.

  Args:
    workdir: of the run, trained.
  """
  from mgc_jax.metrics_log import read_metrics
  from mgc_jax.train import METRICS_FILE

  lines, path = workdir / METRICS_FILE, workdir / _FOLDER / 'curves.png'
  if not path.exists() or path.stat().st_mtime < lines.stat().st_mtime:
    from mgc_jax import plots

    plots.plot_curves(read_metrics(lines), path)


def plot_confusion(folder: pathlib.Path, results: dict[str, Any]) -> None:
  """Draws the confusion matrix of `results.json`.

  Args:
    folder: of the results.
    results: as they are written there.
  """
  from mgc_jax import plots

  plots.plot_confusion(results, folder / _FOLDER / 'confusion_matrix.png')
