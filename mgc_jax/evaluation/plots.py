"""Plots of runs and studies, as PNG files."""

import pathlib
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # pyplot is not needed for files
from matplotlib.ticker import MaxNLocator

from mgc_jax.audio.log_mel import mel_filterbank
from mgc_jax.config.schema import FeaturesConfig, frame_rate_hz
from mgc_jax.system import figure_file

_CURVES = (
  ('loss', ('train_loss', 'valid_loss')),
  ('window accuracy', ('train_window_accuracy', 'valid_window_accuracy')),
  ('track accuracy', ('valid_track_accuracy',)),
)
# From the protocol that leaks most to the one that does not leak.
_PROTOCOL_COLORS = ('tab:red', 'tab:orange', 'tab:green')
_MEL_TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
_FINE_FFT_SAMPLES = 1 << 14  # bins about 1 Hz apart


def plot_curves(lines: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws the training curves of `metrics.jsonl`."""
  figure = Figure(figsize=(12, 3.5))
  axes = figure.subplots(1, len(_CURVES))
  for axis, (title, names) in zip(axes, _CURVES, strict=True):
    for name in names:
      # Not every epoch is evaluated.
      found = [line for line in lines if name in line]
      if found:
        epochs = [line['epoch'] for line in found]
        values = [line[name] for line in found]
        axis.plot(epochs, values, marker='.', label=name.partition('_')[0])
    axis.set(title=title, xlabel='epoch')
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    if axis.lines:
      axis.legend()
  _save(figure, path)


def plot_confusion(results: dict[str, Any], path: pathlib.Path) -> None:
  """Draws the confusion matrix of tracks; its rows are the true genres."""
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
    xlabel='predicted genre',
    ylabel='true genre',
    title=f'{results["split"]} tracks, protocol {results["protocol"]}',
  )
  _save(figure, path)


def plot_spectrograms(
  excerpts: dict[str, np.ndarray], features: FeaturesConfig, path: pathlib.Path
) -> None:
  """Draws the spectrogram of one excerpt of each genre.

  Args:
    excerpts: maps each genre to f[N, F] log-mel frames in dB.
    features: `config.features`, which defines the axes.
    path: the PNG to write.
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


def _set_mel_ticks(axis: Axes, features: FeaturesConfig) -> None:
  """Labels the axis of mel bands with frequencies."""
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
    counts: maps each split to i64[C].
    genres: names of the C genres.
    path: the PNG to write.
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
  """Draws each source's level by frequency, mean and standard deviation.

  Args:
    levels: f[n, F], the level of each track in each band, in decibels.
    source: str[n], the source of each track.
    middle_hz: f[F], the centre frequency of each band.
    path: the PNG to write.
  """
  figure = Figure(figsize=(8, 4))
  axis = figure.subplots()
  for name in np.unique(source):
    own = levels[source == name]
    mean, deviation = own.mean(axis=0), own.std(axis=0)
    axis.plot(middle_hz, mean, label=f'{name} ({len(own)} tracks)')
    axis.fill_between(middle_hz, mean - deviation, mean + deviation, alpha=0.2)
  axis.set(xlabel='Hz', ylabel='mean level, dB', title='Level by source')
  axis.grid(alpha=0.3)
  # By default a legend omits names that start with an underscore.
  axis.legend(handles=axis.lines)
  _save(figure, path)


def plot_leakage(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
  """Draws track accuracy by network and protocol, with 95 % intervals.

  Args:
    rows: made by `leakage.table.summarise`.
    path: the PNG to write.
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
      color=_PROTOCOL_COLORS[i % len(_PROTOCOL_COLORS)],
      ecolor='gray',
      label=f'split by {protocol}',
    )
    axis.bar_label(bars, fmt='%.0f', label_type='center', color='white')
  axis.set_xticks(range(len(networks)), networks)
  axis.set(ylabel='track accuracy, %', ylim=(0, 100))
  axis.set_title('The same networks under three protocols')
  axis.legend(loc='upper center', bbox_to_anchor=(0.5, -0.08), ncols=3)
  _save(figure, path)


def _save(figure: Figure, path: pathlib.Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  figure_file.save(figure, path)
