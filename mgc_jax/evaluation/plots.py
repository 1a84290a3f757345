"""Pictures of a run: curves, confusion, spectrograms, distribution."""

import pathlib
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # no pyplot: files only
from ml_collections import ConfigDict

from mgc_jax.audio.log_mel import mel_filterbank
from mgc_jax.config.rules import frame_rate_hz
from mgc_jax.system import figure_file

_CURVES = (
  ('loss', ('train_loss', 'valid_loss')),
  ('window accuracy', ('train_window_accuracy', 'valid_window_accuracy')),
  ('track accuracy', ('valid_track_accuracy',)),
)
# From the split that leaks most to the honest one.
_LADDER_COLORS = ('tab:red', 'tab:orange', 'tab:green')
_MEL_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
_FINE_FFT_SAMPLES = 1 << 14  # bins about 1 Hz apart


def plot_curves(lines: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws the training curves of `metrics.jsonl`."""
  figure = Figure(figsize=(12, 3.5))
  axes = figure.subplots(1, len(_CURVES))
  for axis, (title, names) in zip(axes, _CURVES, strict=True):
    for name in names:
      found = [line for line in lines if name in line]  # not all are evaluated
      if found:
        epochs = [line['epoch'] + 1 for line in found]
        values = [line[name] for line in found]
        axis.plot(epochs, values, marker='.', label=name.partition('_')[0])
    axis.set(title=title, xlabel='epoch')
    axis.grid(alpha=0.3)
    if axis.lines:
      axis.legend()
  _save(figure, path)


def plot_confusion(results: dict[str, Any], path: pathlib.Path) -> None:
  """Draws the confusion matrix, true genres as rows."""
  counts, genres = np.array(results['confusion_matrix']), results['genres']
  size = 2.5 + 0.5 * len(genres)
  figure = Figure(figsize=(size, size))
  axis = figure.subplots()
  shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  axis.imshow(shares, cmap='Blues', vmin=0, vmax=1)
  for (row, column), count in np.ndenumerate(counts):
    if count:
      color = 'white' if shares[row, column] > 0.5 else 'black'
      axis.text(column, row, count, ha='center', va='center', color=color)
  ticks = range(len(genres))
  axis.set_xticks(ticks, genres, rotation=45, ha='right')
  axis.set_yticks(ticks, genres)
  axis.set(
    xlabel='answered genre',
    ylabel='true genre',
    title=f'{results["split"]} tracks, protocol {results["protocol"]}',
  )
  _save(figure, path)


def plot_spectrograms(
  excerpts: dict[str, np.ndarray], features: ConfigDict, path: pathlib.Path
) -> None:
  """Draws one excerpt of each genre.

  Args:
    excerpts: f[N, F] log-mel frames in dB, by genre.
    features: `config.features`, for the axes.
    path: of the PNG.
  """
  columns = min(5, len(excerpts))
  rows = -(-len(excerpts) // columns)
  figure = Figure(figsize=(3.2 * columns, 2.6 * rows))
  axes = figure.subplots(rows, columns, squeeze=False)
  for axis in axes.flat[len(excerpts) :]:
    axis.remove()
  for axis, (genre, frames) in zip(axes.flat, excerpts.items(), strict=False):
    axis.imshow(
      frames.astype(np.float32).T,
      origin='lower',
      aspect='auto',
      cmap='magma',
      extent=(0, len(frames) / frame_rate_hz(features), 0, features.num_bands),
    )
    _set_mel_ticks(axis, features)
    axis.set(title=genre, xlabel='s', ylabel='Hz')
    axis.label_outer()
  _save(figure, path)


def _set_mel_ticks(axis: Axes, features: ConfigDict) -> None:
  """Marks frequencies on an axis of mel bands."""
  filters = mel_filterbank(
    features.sample_rate_hz,
    _FINE_FFT_SAMPLES,
    features.num_bands,
    features.min_frequency_hz,
    features.max_frequency_hz,
  )
  bin_hz = features.sample_rate_hz / _FINE_FFT_SAMPLES
  middle_hz = filters.argmax(axis=0) * bin_hz
  shown = [x for x in _MEL_TICKS_HZ if middle_hz[0] <= x <= middle_hz[-1]]
  middles = np.arange(features.num_bands) + 0.5
  axis.set_yticks(np.interp(shown, middle_hz, middles), [*map(str, shown)])


def plot_distribution(
  counts: dict[str, np.ndarray], genres: tuple[str, ...], path: pathlib.Path
) -> None:
  """Draws the number of tracks of each genre in each split.

  Args:
    counts: i64[C] by split.
    genres: names of the C genres.
    path: of the PNG.
  """
  figure = Figure(figsize=(2 + 0.8 * len(genres), 3.5))
  axis = figure.subplots()
  bottom = np.zeros(len(genres))
  for split, count in counts.items():
    if count.any():
      axis.bar(genres, count, bottom=bottom, label=split)
      bottom += count
  axis.set(ylabel='tracks', title='tracks per genre and split')
  axis.tick_params(axis='x', rotation=45)
  axis.legend()
  _save(figure, path)


def plot_levels(
  levels: np.ndarray,
  source: np.ndarray,
  middle_hz: np.ndarray,
  path: pathlib.Path,
) -> None:
  """Draws the level of each band by source, with a standard deviation around.

  Args:
    levels: f[n, F] of each track, in decibels.
    source: str[n].
    middle_hz: f[F], of the bands.
    path: of the PNG.
  """
  figure = Figure(figsize=(8, 4))
  axis = figure.subplots()
  for name in np.unique(source):
    its = levels[source == name]
    mean, deviation = its.mean(axis=0), its.std(axis=0)
    axis.plot(middle_hz, mean, label=f'{name} ({len(its)} tracks)')
    axis.fill_between(middle_hz, mean - deviation, mean + deviation, alpha=0.2)
  axis.set(xlabel='Hz', ylabel='mean level, dB', title='Level by source')
  axis.grid(alpha=0.3)
  axis.legend(handles=axis.lines)  # also of names that begin with _
  _save(figure, path)


def plot_ladder(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws track accuracy by network and protocol, with its intervals.

  Args:
    rows: of `ladder.table.summarise`.
    path: of the PNG.
  """
  networks = list(dict.fromkeys(row['network'] for row in rows))
  protocols = list(dict.fromkeys(row['protocol'] for row in rows))
  figure = Figure(figsize=(10, 4))
  axis = figure.subplots()
  width = 0.8 / len(protocols)
  for i, protocol in enumerate(protocols):
    found = [
      row['track_accuracy'] for row in rows if row['protocol'] == protocol
    ]
    mean = 100 * np.array([accuracy['mean'] for accuracy in found])
    ends = 100 * np.array([accuracy['ci95'] for accuracy in found]).T
    bars = axis.bar(
      np.arange(len(networks)) + (i - (len(protocols) - 1) / 2) * width,
      mean,
      width,
      yerr=np.maximum(0, [mean - ends[0], ends[1] - mean]),
      color=_LADDER_COLORS[i % len(_LADDER_COLORS)],
      ecolor='gray',
      label=f'split by {protocol}',
    )
    axis.bar_label(bars, fmt='%.0f', label_type='center', color='white')
  axis.set_xticks(range(len(networks)), networks)
  axis.set(ylabel='tracks right, %', ylim=(0, 100))
  axis.set_title('The same networks under three splits')
  axis.legend(loc='upper center', bbox_to_anchor=(0.5, -0.08), ncols=3)
  _save(figure, path)


def _save(figure: Figure, path: pathlib.Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  figure_file.save(figure, path)
