"""Draws the pictures of docs/PERFORMANCE.md from what the benchmarks wrote.

  python -m benchmarks --to=figures
  python -m benchmarks.pictures --of=figures --to=docs/pictures

A benchmark whose JSON file is missing gets no picture. Each `draw_` function
takes the content of a file and returns a matplotlib figure. Bars are medians,
and their lines reach from the smallest to the largest measurement.
"""

import argparse
import json
import pathlib
from collections.abc import Callable, Mapping

import matplotlib
import numpy as np

from benchmarks.growth import START_TRACKS

matplotlib.use('Agg')  # files only; before pyplot
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

Spread = Mapping[str, float]  # median, min, max
_STAGES = {
  'python': 'Python starts',
  'imports': 'imports',
  'model': 'reading the model',
  'decode': 'decoding, features',
  'answer': 'the prediction',
}


def bars(axis: Axes, series: Mapping[str, Mapping[str, Spread]]) -> None:
  """Draws horizontal bars in groups.

  Args:
    axis: to draw on.
    series: by name, then by group; all have the same groups.
  """
  groups = list(next(iter(series.values())))
  for number, (name, row) in enumerate(series.items()):
    middle = np.array([row[group]['median'] for group in groups])
    below = middle - [row[group]['min'] for group in groups]
    above = [row[group]['max'] for group in groups] - middle
    at = np.arange(len(groups)) + 0.8 * (number + 0.5) / len(series)
    axis.barh(at, middle, 0.75 / len(series), xerr=[below, above], label=name)
  axis.set_yticks(np.arange(len(groups)) + 0.4, groups)
  axis.invert_yaxis()
  if len(series) > 1:  # above the bars, which fill the axes
    above_axes = {'loc': 'lower center', 'bbox_to_anchor': (0.5, 1.0)}
    axis.legend(fontsize='small', frameon=False, ncols=2, **above_axes)


def draw_step(found: dict) -> Figure:
  """Draws how fast our networks are relative to the fastest peer."""
  networks = {k: next(iter(x.values())) for k, x in found['networks'].items()}
  figure, axes = plt.subplots(1, 2, figsize=(10, 0.5 * len(networks) + 1.5))
  for axis, what in zip(axes, ('train', 'infer'), strict=True):
    rows = {name: x[what] for name, x in networks.items()}
    series = {'JAX': {k: x['ratio'][x['fastest']] for k, x in rows.items()}}
    if all('exported' in x for x in rows.values()):
      series['onnxruntime or OpenVINO'] = {
        name: x['exported']['ratio'] for name, x in rows.items()
      }
    bars(axis, series)
    axis.axvline(1, color='black', linewidth=1)
    axis.set_title({'train': 'training', 'infer': 'inference'}[what], pad=20)
    axis.set_xlabel('speed relative to the fastest of PyTorch and Keras')
  return figure


def draw_growth(found: dict) -> Figure:
  """Draws the time after the start, and the peak memory, by tracks."""
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
  for name, row in found['commands'].items():
    net_s = np.maximum(np.array(row['seconds']) - row['start_s'], 1e-3)
    more = np.array(row['tracks']) - START_TRACKS
    title = f'{name} (exponent {row["exponent"]:.2f})'
    left.loglog(more, net_s, marker='o', label=title)
    right.plot(row['tracks'], row['peak_mib'], marker='o', label=name)
  left.set_xlabel(f'tracks of 30 s in addition to {START_TRACKS}')
  left.set_ylabel(f'additional time over {START_TRACKS} tracks, s')
  right.set(xlabel='tracks of 30 s', ylabel='peak memory, MiB', ylim=(0, None))
  left.legend(fontsize='small')
  for axis in (left, right):
    axis.grid(alpha=0.3)
  return figure


def draw_answering(found: dict) -> Figure:
  """Draws the stages of a song's prediction, and the speed of a folder."""
  engines = found['engines']
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
  start = np.zeros(len(engines))
  for stage, title in _STAGES.items():
    taken = [x['stages_s'][stage]['median'] for x in engines.values()]
    left.barh(list(engines), taken, 0.6, left=start, label=title)
    start += taken
  left.invert_yaxis()
  left.legend(fontsize='small')
  left.set_xlabel('one song in a new process, s')
  speeds = {
    f'{count} {"core" if count == "1" else "cores"}': {
      name: x['folder'][count]['real_time_factor']
      for name, x in engines.items()
    }
    for count in next(iter(engines.values()))['folder']
  }
  bars(right, speeds)
  right.set_xlabel('speed of a folder relative to real time')
  return figure


def draw_neighbours(found: dict) -> Figure:
  """Draws the seconds of both searches by the number of tracks."""
  series = {
    title: {
      f'{int(size):,} tracks': x['seconds'][name]
      for size, x in found['sizes'].items()
    }
    for name, title in (('exact', 'exact'), ('approximate', "usearch's graph"))
  }
  return _single(series, 'time of a search, s', log=True)


def draw_input_pipeline(found: dict) -> Figure:
  """Draws the speed of training with both feeds of data."""
  rows = found['models']
  series = {
    'resident on the device': {
      name: x['resident_to_streamed'] for name, x in rows.items()
    }
  }
  return _single(series, 'training speed, resident relative to streamed')


def draw_startup(found: dict) -> Figure:
  """Draws the time to the first step, with and without compiled code."""
  titles = {'empty': 'first run', 'filled': 'compiled code in the cache'}
  series = {
    title: {name: x['seconds'][k] for name, x in found['networks'].items()}
    for k, title in titles.items()
  }
  return _single(series, 'time to the end of the first training step, s')


def draw_preparation_stages(found: dict) -> Figure:
  """Draws the time of preparation with three libraries, and of its stages."""
  titles = {
    'decode': 'only decoding',
    'decode and resample': 'decoding and resampling',
    'mgc_jax': 'everything, mgc_jax',
    'librosa': "everything, librosa's mels",
    'torch': "everything, PyTorch's stft",
  }
  ratios = found['ratio']
  rows = {title: ratios[k] for k, title in titles.items() if k in ratios}
  return _single({'one core': rows}, 'time relative to mgc_jax')


def draw_cluster(found: dict) -> Figure:
  """Draws the speed of Dask's workers and of as many local processes."""
  series = {
    title: {
      f'{count} worker{"s" * (count != "1")}': row[name]
      for count, row in found['tracks_per_s'].items()
    }
    for name, title in (('local', 'local processes'), ('dask', 'Dask workers'))
  }
  return _single(series, 'tracks of 30 s per second')


def _single(
  series: Mapping[str, Mapping[str, Spread]], label: str, log: bool = False
) -> Figure:
  rows = sum(map(len, series.values()))
  figure, axis = plt.subplots(figsize=(8, 0.3 * rows + 1.2))
  bars(axis, series)
  axis.set_xlabel(label)
  if log:
    axis.set_xscale('log')
  return figure


PICTURES: dict[str, Callable[[dict], Figure]] = {
  'step': draw_step,
  'answering': draw_answering,
  'neighbours': draw_neighbours,
  'input_pipeline': draw_input_pipeline,
  'startup': draw_startup,
  'growth': draw_growth,
  'preparation_stages': draw_preparation_stages,
  'cluster': draw_cluster,
}


def main() -> None:
  """Draws what there are results of."""
  flags = argparse.ArgumentParser(
    prog='python -m benchmarks.pictures',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  flags.add_argument(
    '--of', type=pathlib.Path, required=True, help='folder of JSON files'
  )
  flags.add_argument(
    '--to', type=pathlib.Path, required=True, help='folder for the PNGs'
  )
  args = flags.parse_args()
  args.to.mkdir(parents=True, exist_ok=True)
  for name, draw in PICTURES.items():
    path = args.of / f'{name}.json'
    if not path.exists():
      print(f'{path}: no such file, so no picture')
      continue
    figure = draw(json.loads(path.read_text()))
    figure.tight_layout()
    figure.savefig(args.to / f'{name}.png', dpi=110)
    plt.close(figure)
    print(args.to / f'{name}.png')


if __name__ == '__main__':
  main()
