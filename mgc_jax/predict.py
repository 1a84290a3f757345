"""Classifies music by genre: files, folders, or a list on standard input.

First the genres of the model are printed. A prediction below 50 % is marked
uncertain. For a damaged file the part that can be decoded is used, with a
warning on standard error (--strict: it fails). Unreadable files are reported
there; the others are still classified. Exit code 0: all files were classified;
1: some failed; 2: wrong usage.

Examples:
  mgc predict song.mp3
  mgc predict /music --format=csv > genres.csv
  mgc predict song.mp3 --timeline --plot=song.png
  find /music -name '*.flac' | mgc predict - --format=json
  mgc predict /nfs/music --scheduler=tcp://HOST:8786 --parts=/nfs/parts
"""

import argparse
import csv
import io
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tqdm import tqdm

from mgc_jax.audio.files import find_files
from mgc_jax.inference import cluster_flags, engines, pretrained
from mgc_jax.system import command_line
from mgc_jax.system.arguments import (
  Command,
  Parser,
  file_path,
  number_or_all,
)
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

if TYPE_CHECKING:  # avoids importing JAX for --help
  from mgc_jax.inference.classifier import Classifier, Prediction

_NUM_TAGS = 5


def text_of(
  prediction: 'Prediction',
  top: int | None,
  timeline: bool,
  tags: dict[str, float] | None = None,
) -> str:
  """Returns a prediction as readable text."""
  ranked = [f'{genre} {share:.0%}' for genre, share in prediction.top]
  rest = ', '.join(ranked[1:top])
  text = f'{ranked[0]} ({rest})' if rest else ranked[0]
  if prediction.uncertain:
    text = f'uncertain: {", ".join(ranked[:top])}'
  lines = [f'{printable(prediction.path)}: {text}']
  if tags:
    lines.append(f'  tags: {_tag_text(tags)}')
  if timeline:
    for moment in prediction.timeline:
      most = max(moment.probabilities)
      genre = prediction.genres[moment.probabilities.index(most)]
      span = f'{_clock(moment.start_s)} to {_clock(moment.end_s)}'
      lines.append(f'  {span}  {genre} {most:.0%}')
  return '\n'.join(lines)


def _tag_text(tags: dict[str, float]) -> str:
  """Returns tags with their probabilities on one line."""
  return ', '.join(f'{name} {share:.0%}' for name, share in tags.items())


def _clock(seconds: float) -> str:
  """Returns minutes and seconds, with tenths."""
  tenths = round(seconds * 10)
  return f'{tenths // 600}:{tenths % 600 / 10:04.1f}'


def _formatter(
  args: argparse.Namespace, model: 'Classifier'
) -> Callable[['Prediction'], str]:
  """Returns a function that turns a prediction into lines of the output.

  Prints what comes before the first prediction.
  """
  top, timeline, genres = args.top, args.timeline, model.genres

  def tags(path: str) -> dict[str, float]:
    return _tags(path, model) if args.tags else {}

  if args.format == 'json':

    def as_json(one: 'Prediction') -> str:
      found = tags(one.path)
      more = {'tags': found} if args.tags else {}
      return json.dumps({**one.to_json(top, timeline), **more}) + '\n'

    return as_json
  if args.format == 'text':
    print(f'{args.model} knows {", ".join(genres)}')
    return lambda one: text_of(one, top, timeline, tags(one.path)) + '\n'
  # Paths are exactly those of the disk, byte for byte.
  if isinstance(sys.stdout, io.TextIOWrapper):  # unless a caller replaced it
    sys.stdout.reconfigure(errors='surrogateescape')
  names = ['genre', 'probability', 'uncertain', 'duration_s', 'windows']
  names.append('warning')
  tag_column = ['tags'] if args.tags else []
  spans = ['start_s', 'end_s'] if timeline else []
  header = ['path', *spans, *names, *tag_column, *genres]
  sys.stdout.write(_csv_lines([header]))

  def as_csv(prediction: 'Prediction') -> str:
    """Returns a row for the file, or one for each window."""
    found = prediction.to_json(None, timeline)
    own = [found[name] for name in names]
    if tag_column:
      own.append(_tag_text(tags(prediction.path)))
    if timeline:
      return _csv_lines(
        [
          prediction.path,
          moment['start_s'],
          moment['end_s'],
          *own,
          *moment['probabilities'].values(),
        ]
        for moment in found['timeline']
      )
    by_genre = prediction.probabilities
    shares = [f'{by_genre[genre]:.4f}' for genre in genres]
    return _csv_lines([[prediction.path, *own, *shares]])

  return as_csv


def _csv_lines(rows: Iterable[Iterable[object]]) -> str:
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows(rows)
  return text.getvalue()


def _run(args: argparse.Namespace) -> None:
  """Classifies all files; exits with 1 if any failed."""
  paths = find_files(args.paths)
  plot = file_path('plot', args.plot)
  if plot and len(paths) != 1:
    raise ConfigError(
      f'--plot={plot}: needs exactly one file, got {len(paths)}'
    )
  cluster = cluster_flags.cluster_of(args, _absolute(args.model))
  if cluster and args.tags:
    raise ConfigError('--tags: cannot be combined with --scheduler')
  from mgc_jax.inference import loading, prefetch

  ahead = cluster.ahead if cluster else prefetch.ahead
  model = loading.load(args.model, owns_process=True, engine=args.engine)
  lines_of = _formatter(args, model)
  num_failed = 0
  bar = tqdm(paths, desc='predict', unit='file', disable=len(paths) < 2 or None)
  with bar, ahead(model, paths) as results:
    for path, result in results:
      problem = _problem(result, args.strict)
      if problem:
        tqdm.write(f'{printable(path)}: {problem}', file=sys.stderr)
      if isinstance(result, DataError) or (problem and args.strict):
        num_failed += 1
      else:
        tqdm.write(lines_of(result), end='')  # not onto the progress bar
        sys.stdout.flush()  # an interrupt discards no prediction
        if plot:
          _plot(model, result, plot)
      bar.update()
  if num_failed:
    print(f'{num_failed} of {len(paths)} files failed', file=sys.stderr)
    sys.exit(1)


def _absolute(model: str) -> str:
  """Returns a model's name, or its path from any working directory."""
  return model if model in pretrained.NAMES else os.path.abspath(model)


def _tags(path: str, model: 'Classifier') -> dict[str, float]:
  """Returns the most probable tags of a file, rounded; none if that fails."""
  from mgc_jax.inference.encoder_tags import tags_of

  try:
    found = tags_of(path, model.encoder())
  except DataError as error:  # for example silent at 16 kHz
    tqdm.write(f'{printable(path)}: no tags: {error}', file=sys.stderr)
    return {}
  most = itertools.islice(found.items(), _NUM_TAGS)
  return {name: round(share, 4) for name, share in most}


def _problem(result: 'Prediction | DataError', strict: bool) -> str:
  """Returns why a file failed or what is wrong with it; '' if nothing is."""
  if isinstance(result, DataError):
    return str(result)
  if result.warning and not strict:
    return f'warning: {result.warning}'
  return result.warning


def _plot(
  model: 'Classifier', prediction: 'Prediction', path: pathlib.Path
) -> None:
  from mgc_jax.system import figure_file

  try:
    with figure_file.never_stopping(path, requested=True):
      from mgc_jax.inference.timeline import plot_timeline

      excerpts = list(model.excerpts(prediction.path))
      plot_timeline(prediction, excerpts, path)
      print(f'timeline: {path}', file=sys.stderr)
  except OSError as error:
    raise DataError(f'--plot={path}: cannot be written: {error}') from error


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    'paths',
    nargs='+',
    metavar='PATH',
    help='A file or a folder; - reads a list from standard input.',
  )
  parser.add_argument(
    '--model',
    default=pretrained.BEST,
    help='tags, cnn, lstm or crnn, which come with the package; the folder of '
    'a run or of its bundle; or a file that mgc export wrote.',
  )
  engines.add_flag(parser)
  cluster_flags.add_flags(parser)
  parser.add_argument(
    '--top',
    type=number_or_all,
    default=3,
    metavar='N',
    help='Number of genres per prediction, or all.',
  )
  parser.add_argument(
    '--format',
    choices=['text', 'json', 'csv'],
    default='text',
    help='text: readable; json: an object per line; csv: all probabilities.',
  )
  parser.add_argument(
    '--strict',
    action='store_true',
    help='A truncated or damaged file is a failure, not a warning.',
  )
  parser.add_argument(
    '--timeline',
    action='store_true',
    help='Also print the prediction for each window.',
  )
  parser.add_argument(
    '--tags',
    action='store_true',
    help='Also print the five most probable tags of a pretrained encoder, such '
    'as female vocalists; they are not genres of the model.',
  )
  parser.add_argument(
    '--plot',
    metavar='FILE',
    help='PNG of the spectrogram and timeline of one file.',
  )


COMMAND = Command(__doc__, _add_arguments, _run)

if __name__ == '__main__':
  command_line.run(COMMAND, 'python -m mgc_jax.predict')
