r"""Trains the models that are shipped with the package; writes their cards.

For each model, an artist-disjoint cross-validation is trained first. It gives
the accuracy of the model and the temperature that calibrates it. Then the model
is trained on all tracks, to the last epoch. If it is interrupted, the same
command resumes it.

The model `tags` is made from several collections. Each of --left_out is left
out once, and the temperature is that which calibrates the predictions for the
collection that was left out.

Examples:
  mgc build-models --models=cnn,lstm,crnn --root=$DATA/gtzan_logmel
  mgc build-models --models=tags --num_folds=5 \
    --left_out=gtzan_tags,emotify_mp3 \
    --manifests=runs/gtzan_tags/manifest.csv,$DATA/emotify_mp3/manifest.csv,\
runs/not_music/manifest.csv
"""

import argparse
import itertools
import logging
import pathlib
import shlex
import shutil

from mgc_jax.experiments import flags
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.experiments.sweep.runner import check_run, train
from mgc_jax.inference import pretrained
from mgc_jax.system.arguments import (
  CONTINUES,
  Command,
  Parser,
  comma_list,
  whole_number,
)
from mgc_jax.system.errors import ConfigError, DataError

_logger = logging.getLogger(__name__)

# The models whose only data are GTZAN's frames.
FROM_SCRATCH = ('cnn', 'lstm', 'crnn')


def plan_model(
  data: dict[str, str],
  workdir: pathlib.Path,
  num_folds: int,
  overrides: tuple[str, ...],
) -> tuple[list[Run], Run]:
  """Returns the runs of the folds, and the run on all tracks.

  Args:
    data: fields of `config.data` that name the tracks.
    workdir: folder of this model, which has a subfolder for each run.
    num_folds: number of folds of the cross-validation.
    overrides: `--config.FIELD=VALUE` for all runs.
  """
  fields = {
    'data.source': 'manifest',
    **{f'data.{name}': value for name, value in data.items()},
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
  left_out_runs: dict[str, list[Run]] | None = None,
  command: str = '',
) -> None:
  """Trains a model, and writes its bundle and its card.

  Args:
    name: one of `pretrained.NAMES`.
    config: path of its config file.
    runs: made by `plan_model`.
    target: folder of the bundle, which is replaced.
    left_out_runs: made by `left_out.plan`; calibrate the model. If there are
      none, the folds do.
    command: the command line, for the card.

  Raises:
    ConfigError: the folder of a run has a run with other settings.
    DataError: a run failed, or the bundle cannot be written.
  """
  from mgc_jax.experiments import left_out
  from mgc_jax.experiments.cross_validation import (
    evaluate_folds,
    set_temperature,
  )
  from mgc_jax.experiments.shipped_models import golden_outputs
  from mgc_jax.experiments.shipped_models.card import model_card
  from mgc_jax.models import bundle as bundles

  folds, whole = runs
  every = [*folds, *itertools.chain(*(left_out_runs or {}).values()), whole]
  for run in every:
    check_run(config, run)
  for number, run in enumerate(every, 1):
    if not run.result():
      _logger.info('%s: run %d of %d', name, number, len(every))
      train(config, run)
  found = evaluate_folds([run.workdir for run in folds])
  temperature = found['calibration']['temperature']
  if left_out_runs:
    found['left_out'] = left_out.score(left_out_runs)
    temperature = found['left_out']['calibration']['temperature']
  partial = target.with_name(f'{name}.partial')
  try:
    shutil.rmtree(partial, ignore_errors=True)
    # A run that was killed may have left partial files.
    unfinished = shutil.ignore_patterns('*.partial')
    shutil.copytree(whole.workdir / 'bundle', partial, ignore=unfinished)
    set_temperature(partial, folds[0].workdir, temperature)
    bundle = bundles.load(partial)
    golden_outputs.write(bundle, partial)
    text = model_card(
      name, bundle.num_params, found, command, bundles.digest(partial)
    )
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
    given, flag = args.manifests, '--manifests'
    if name in FROM_SCRATCH:
      given, flag = args.root, '--root'
    if not given:
      raise ConfigError(f'{flag}: not set; the model {name} is made from it')
  for name in args.models:
    _build(name, args)


def _build(name: str, args: argparse.Namespace) -> None:
  """Builds one model."""
  from mgc_jax.experiments import left_out

  workdir = pathlib.Path(args.workdir) / name
  data = {'manifest': args.manifests or ''}
  if name in FROM_SCRATCH:
    data = {'root': args.root, 'manifest': 'manifest.csv'}
  folds, whole = plan_model(data, workdir, args.num_folds, ())
  runs = {}
  if name not in FROM_SCRATCH:
    same = [f'--config.data.{k}={v}' for k, v in data.items()]
    same.append('--config.data.source=manifest')
    runs = left_out.plan(args.left_out, [0], same, workdir / 'left_out')
  config = f'{args.configs}/{name}.py'
  target = pathlib.Path(args.to) / name
  build(name, config, (folds, whole), target, runs, command_of(name, args))


def command_of(name: str, args: argparse.Namespace) -> str:
  """Returns the command that builds one of the models, for a shell.

  Args:
    name: one of `args.models`.
    args: of the command that builds all of them. Its folders of runs and of
      bundles are left out, because the model does not depend on them.
  """
  given = {'models': name, 'num_folds': str(args.num_folds)}
  if name in FROM_SCRATCH:
    given['root'] = args.root
  else:
    given['left_out'] = ','.join(args.left_out)
    given['manifests'] = args.manifests
  if args.configs != flags.CONFIGS:
    given['configs'] = args.configs
  words = [f'--{flag}={value}' for flag, value in given.items() if value]
  return shlex.join(['mgc', 'build-models', *words])


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    '--root',
    metavar='DIR',
    help="Folder of GTZAN's frames and manifest.csv, for cnn, lstm and crnn.",
  )
  parser.add_argument(
    '--manifests',
    metavar='CSV,...',
    help='A manifest of each collection, for tags.',
  )
  flags.add_left_out(parser, required=False, more='; for tags')
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
  flags.add_configs(parser)
  flags.add_workdir(parser, 'runs/pretrained')
  parser.add_argument(
    '--to',
    default=str(pretrained.path('.')),
    metavar='DIR',
    help='Folder of the finished bundles.',
  )


COMMAND = Command(__doc__, _add_arguments, _run, CONTINUES)
