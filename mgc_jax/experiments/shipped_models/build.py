"""Trains the models that are shipped with the package; writes their cards.

For each model, an artist-disjoint cross-validation is trained first. It gives
the accuracy of the model and the temperature that calibrates it. Then the model
is trained on all tracks, to the last epoch. If it is interrupted, the same
command resumes it.

Example:
  python -m mgc_jax.experiments.shipped_models.build --root=$DATA/gtzan_logmel
"""

import logging
import pathlib
import shutil

from absl import flags

from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.experiments.sweep.runner import check_run, train
from mgc_jax.inference import pretrained
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError, DataError

# Named explicitly because __name__ is __main__ when run as a command.
_logger = logging.getLogger('mgc_jax.experiments.shipped_models')
_COMMAND = (
  'python -m mgc_jax.experiments.shipped_models.build --root=$DATA/gtzan_logmel'
)


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


def main() -> None:
  """Builds the models that the flags name."""
  unknown = set(flags.FLAGS.models) - set(pretrained.NAMES)
  if unknown:
    raise ConfigError(
      f'--models={",".join(sorted(unknown))}: must be of '
      + ', '.join(pretrained.NAMES)
    )
  for name in flags.FLAGS.models:
    workdir = pathlib.Path(flags.FLAGS.workdir) / name
    runs = plan_model(flags.FLAGS.root, workdir, flags.FLAGS.num_folds, ())
    config = f'{flags.FLAGS.configs}/{name}.py'
    build(name, config, runs, pathlib.Path(flags.FLAGS.to) / name)


if __name__ == '__main__':
  flags.DEFINE_string('root', None, 'Folder of frames and manifest.csv.')
  flags.DEFINE_list('models', list(pretrained.NAMES), 'Which models.')
  flags.DEFINE_integer('num_folds', 3, 'Of the cross-validation.', 2)
  flags.DEFINE_string('configs', 'configs', 'Folder of the config files.')
  flags.DEFINE_string(
    'workdir', 'runs/pretrained', 'Folder of all runs; they are resumed.'
  )
  flags.DEFINE_string(
    'to', str(pretrained.path('.')), 'Folder of the finished bundles.'
  )
  flags.mark_flag_as_required('root')
  command_line.run(main)
