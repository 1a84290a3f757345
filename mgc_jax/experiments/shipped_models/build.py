"""Trains the models that are shipped with the package; writes their cards.

For each model, an artist-disjoint cross-validation is trained first. It gives
the accuracy of the model and the temperature that calibrates it. Then the model
is trained on all tracks, to the last epoch. If it is interrupted, the same
command resumes it.

Example:
  mgc build-models --root=$DATA/gtzan_logmel
"""

import argparse
import logging
import pathlib
import shutil

from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.experiments.sweep.runner import check_run, train
from mgc_jax.inference import pretrained
from mgc_jax.system.arguments import (
  Command,
  Parser,
  comma_list,
  whole_number,
)
from mgc_jax.system.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)
_COMMAND = 'mgc build-models --root=$DATA/gtzan_logmel'


def plan_model(
  root: str, workdir: pathlib.Path, num_folds: int, overrides: tuple[str, ...]
) -> tuple[list[Run], Run]:
  """Returns the runs of the folds, and the run on all tracks.

  Args:
    root: folder of the frames and their `manifest.csv`.
    workdir: folder of this model, which has a subfolder for each run.
    num_folds: number of folds of the cross-validation.
    overrides: `--config.FIELD=VALUE` for all runs.
  """
  fields = {
    'data.source': 'manifest',
    'data.root': root,
    'data.manifest': 'manifest.csv',
    'data.protocol': 'artist',
    'data.valid_fraction': '0.0',
    'train.select': 'last',
    'train.patience_epochs': '0',
  }

  def run(name: str, **more: object) -> Run:
    words = [f'--config.{k}={v}' for k, v in {**fields, **more}.items()]
    return Run(name, 0, (*words, *overrides), workdir / name)

  folds = [
    run(f'fold{k}', **{'data.num_folds': num_folds, 'data.fold': k})
    for k in range(num_folds)
  ]
  whole = run('all', **{'data.test_fraction': 0.0, 'data.eval_split': 'train'})
  return folds, whole


def build(
  name: str,
  config: str,
  runs: tuple[list[Run], Run],
  target: pathlib.Path,
) -> None:
  """Trains a model, and writes its bundle and its card.

  Args:
    name: cnn, lstm or crnn.
    config: path of its config file.
    runs: made by `plan_model`.
    target: folder of the bundle, which is replaced.

  Raises:
    ConfigError: the folder of a run has a run with other settings.
    DataError: a run failed, or the bundle cannot be written.
  """
  from mgc_jax.experiments.cross_validation import (
    evaluate_folds,
    set_temperature,
  )
  from mgc_jax.experiments.shipped_models import golden_outputs
  from mgc_jax.experiments.shipped_models.card import model_card
  from mgc_jax.models import bundle as bundles

  folds, whole = runs
  for run in [*folds, whole]:
    check_run(config, run)
  for number, run in enumerate([*folds, whole], 1):
    if not run.result():
      _logger.info('%s: run %d of %d', name, number, len(folds) + 1)
      train(config, run)
  found = evaluate_folds([run.workdir for run in folds])
  partial = target.with_name(f'{name}.partial')
  try:
    shutil.rmtree(partial, ignore_errors=True)
    # A run that was killed may have left partial files.
    unfinished = shutil.ignore_patterns('*.partial')
    shutil.copytree(whole.workdir / 'bundle', partial, ignore=unfinished)
    temperature = found['calibration']['temperature']
    set_temperature(partial, folds[0].workdir, temperature)
    bundle = bundles.load(partial)
    golden_outputs.write(bundle, partial)
    text = model_card(name, bundle.num_params, found, _COMMAND)
    (partial / 'README.md').write_text(text, encoding='utf-8')
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
  except OSError as error:
    raise DataError(f'{target}: cannot be written: {error}') from error
  print(text)


def _run(args: argparse.Namespace) -> None:
  """Builds the chosen models."""
  unknown = set(args.models) - set(pretrained.NAMES)
  if unknown:
    raise ConfigError(
      f'--models={",".join(sorted(unknown))}: must be among '
      + ', '.join(pretrained.NAMES)
    )
  for name in args.models:
    workdir = pathlib.Path(args.workdir) / name
    runs = plan_model(args.root, workdir, args.num_folds, ())
    config = f'{args.configs}/{name}.py'
    build(name, config, runs, pathlib.Path(args.to) / name)


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    '--root',
    required=True,
    metavar='DIR',
    help='Folder of frames and manifest.csv.',
  )
  parser.add_argument(
    '--models',
    type=comma_list,
    default=list(pretrained.NAMES),
    metavar='NAME,...',
    help='Models to build.',
  )
  parser.add_argument(
    '--num_folds',
    type=whole_number(2),
    default=3,
    metavar='N',
    help='Number of folds.',
  )
  parser.add_argument(
    '--configs',
    default='configs',
    metavar='DIR',
    help='Folder of the config files; without one, those of the package.',
  )
  parser.add_argument(
    '--workdir',
    default='runs/pretrained',
    metavar='DIR',
    help='Folder of all runs; they are resumed.',
  )
  parser.add_argument(
    '--to',
    default=str(pretrained.path('.')),
    metavar='DIR',
    help='Folder of the finished bundles.',
  )


COMMAND = Command(__doc__, _add_arguments, _run)
