"""The picture of an answer: probabilities over time, under the spectrogram."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure  # no pyplot: pages draw in threads

from mgc_jax.inference.classifier import Excerpt, Prediction
from mgc_jax.system import figure_file
from mgc_jax.system.printable_text import printable

_MAX_NAMED = 6  # genres in the legend; the others are one colour
_MAX_FRAMES = 4000  # drawn of all excerpts together
_OTHERS = 'lightgray'
_RATIOS = (3, 2)  # of the heights of the spectrogram and the probabilities


def plot_timeline(
  answer: Prediction, excerpts: Sequence[Excerpt], path: pathlib.Path
) -> None:
  """Draws an answer.

  Args:
    answer: of the model.
    excerpts: of the same track.
    path: of the PNG.

  Raises:
    OSError: it cannot be written.
  """
  figure = Figure(figsize=(10, 6))
  top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=_RATIOS)
  _draw(top, bottom, answer, excerpts)
  name = printable(pathlib.Path(answer.path).name)
  title = f'{name}: {answer.genre} {answer.probability:.0%}'
  top.set(title=title, ylabel='mel band')
  bottom.set(xlabel='s', ylabel='probability')
  bottom.legend(
    # Named one by one: left to itself it leaves out names that begin with _.
    handles=bottom.containers,
    loc='upper left',
    bbox_to_anchor=(1.0, 1.0),
    fontsize='small',
  )
  figure_file.save(figure, path)


def draw_bare(
  answer: Prediction, excerpts: Sequence[Excerpt], file: BinaryIO
) -> None:
  """Draws an answer from edge to edge: the width is the track's length.

  Args:
    answer: of the model.
    excerpts: of the same track.
    file: takes the PNG.
  """
  figure = Figure(figsize=(10, 4))
  grid = {'left': 0, 'right': 1, 'bottom': 0, 'top': 1, 'hspace': 0.02}
  top, bottom = figure.subplots(
    2, 1, sharex=True, height_ratios=_RATIOS, gridspec_kw=grid
  )
  _draw(top, bottom, answer, excerpts)
  for axis in (top, bottom):
    axis.set_axis_off()
  figure.savefig(file, dpi=90, format='png')


def genre_colors(answer: Prediction) -> list[tuple[str, str]]:
  """Returns names and `#rrggbb`, as in the pictures, from the bottom up."""
  return [(name, to_hex(color)) for name, color, _ in _levels(answer)]


def _draw(
  top: Axes, bottom: Axes, answer: Prediction, excerpts: Sequence[Excerpt]
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
  # Each window until the next begins.
  starts = np.array([moment.start_s for moment in answer.timeline])
  ends = np.append(starts[1:], answer.timeline[-1].end_s)
  base = np.zeros(len(starts))
  for name, color, level in _levels(answer):
    widths = ends - starts
    bottom.bar(
      starts, level, widths, base, align='edge', color=color, label=name
    )
    base += level
  bottom.set(ylim=(0, 1), xlim=(0, max(answer.duration_s, 1e-3)))


def _levels(answer: Prediction) -> Iterator[tuple[str, str, np.ndarray]]:
  """Yields names, colours and f64[windows], the most probable genre first."""
  rows = np.array([moment.probabilities for moment in answer.timeline])
  order = np.argsort(-rows.mean(axis=0))
  for i, genre in enumerate(order[:_MAX_NAMED]):
    yield answer.genres[genre], f'C{i}', rows[:, genre]
  if len(order) > _MAX_NAMED:
    yield 'others', _OTHERS, rows[:, order[_MAX_NAMED:]].sum(axis=1)
