"""Plots a prediction: the spectrogram above the probabilities over time."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure  # pyplot cannot be used in threads

from mgc_jax.audio.excerpt import Excerpt
from mgc_jax.inference.classifier import Prediction
from mgc_jax.system import figure_file
from mgc_jax.system.printable_text import printable

_MAX_FRAMES = 4000  # that are drawn of a track
# Okabe and Ito 2008: distinct for people with any form of colour blindness, on
# white and on black.
_COLORS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00')
_OTHERS = '#999999'
_HEIGHT_RATIOS = (3, 2)  # spectrogram and probabilities


def plot_timeline(
  prediction: Prediction, excerpts: Sequence[Excerpt], path: pathlib.Path
) -> None:
  """Plots a prediction with title, axes and legend.

  Args:
    prediction: the prediction for a track.
    excerpts: the excerpts of the same track.
    path: the PNG file to write.

  Raises:
    OSError: the file cannot be written.
  """
  figure = Figure(figsize=(10, 6))
  top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=_HEIGHT_RATIOS)
  _draw(top, bottom, prediction, excerpts)
  name = printable(pathlib.Path(prediction.path).name)
  title = f'{name}: {prediction.genre} {prediction.probability:.0%}'
  top.set(title=title, ylabel='mel band')
  bottom.set(xlabel='s', ylabel='probability')
  bottom.legend(
    # Explicit, because matplotlib skips labels that begin with _ by default.
    handles=bottom.containers,
    loc='upper left',
    bbox_to_anchor=(1.0, 1.0),
    fontsize='small',
  )
  figure_file.save(figure, path)


def draw_bare(
  prediction: Prediction, excerpts: Sequence[Excerpt], file: BinaryIO
) -> None:
  """Plots a prediction without margins, so that the width is the whole track.

  Args:
    prediction: the prediction for a track.
    excerpts: the excerpts of the same track.
    file: the PNG is written to it.
  """
  figure = Figure(figsize=(10, 4))
  grid = {'left': 0, 'right': 1, 'bottom': 0, 'top': 1, 'hspace': 0}
  top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw=grid)
  _draw(top, bottom, prediction, excerpts)
  for axis in (top, bottom):
    axis.set_axis_off()
  figure.savefig(file, dpi=90, format='png')


def genre_colors(prediction: Prediction) -> list[tuple[str, str]]:
  """Returns the genres and their colours (`#rrggbb`) from the bottom up."""
  return [(name, to_hex(color)) for name, color, _ in _layers(prediction)]


def _draw(
  top: Axes, bottom: Axes, prediction: Prediction, excerpts: Sequence[Excerpt]
) -> None:
  num_frames = sum(len(excerpt.frames) for excerpt in excerpts)
  step = max(1, num_frames // _MAX_FRAMES)
  for excerpt in excerpts:
    end_s = excerpt.start_s + excerpt.duration_s
    frames = excerpt.frames[::step].astype(np.float32)
    top.imshow(
      frames.T,
      origin='lower',
      aspect='auto',
      extent=(excerpt.start_s, end_s, 0, frames.shape[1]),
    )
  # Windows may overlap: each is drawn until the next one starts.
  timeline = prediction.timeline
  starts = np.array([one.start_s for one in timeline])
  ends = np.append(starts[1:], timeline[-1].end_s)
  base = np.zeros(len(starts))
  for name, color, heights in _layers(prediction):
    widths = ends - starts
    bottom.bar(
      starts, heights, widths, base, align='edge', color=color, label=name
    )
    base += heights
  bottom.set(ylim=(0, 1), xlim=(0, max(prediction.duration_s, 1e-3)))


def _layers(prediction: Prediction) -> Iterator[tuple[str, str, np.ndarray]]:
  """Yields names, colours and f64[W], the most probable genre first."""
  rows = np.array([one.probabilities for one in prediction.timeline])
  order = np.argsort(-rows.mean(axis=0))
  for color, genre in zip(_COLORS, order, strict=False):
    yield prediction.genres[genre], color, rows[:, genre]
  others = order[len(_COLORS) :]
  if len(others):
    yield 'others', _OTHERS, rows[:, others].sum(axis=1)
