"""Trains several seeds of several settings, and compares them in one table.

Runs are trained one after another. Interrupted runs are resumed and finished
ones are not repeated, so the same command prints the table again. Each value of
a field is a row; several fields give all combinations. Folds are combined: with
--config.data.num_folds=5 --config.data.fold=0,1,2,3,4, each seed is trained
five times and scored once, on all tracks.

Examples:
  python -m mgc_jax.experiments.sweep --config=configs/cnn.py --seeds=0,1,2
  python -m mgc_jax.experiments.sweep --config=configs/cnn.py --seeds=0,1,2 \
    --config.train.learning_rate=0.001,0.002 --workdir=runs/rates

In a SLURM array job, each task trains its share of the runs:
  sbatch --array=0-5 --gpus=1 --wrap="python -m mgc_jax.experiments.sweep ..."
"""

import hashlib
import json
import logging
import os
import pathlib
import sys

from absl import flags

from mgc_jax.experiments.sweep.plan import check_folds, plan, share
from mgc_jax.experiments.sweep.runner import (
  check_run,
  load_config,
  parse_seeds,
  take_overrides,
  train,
)
from mgc_jax.system import command_line

# Named explicitly because __name__ is __main__.
_logger = logging.getLogger('mgc_jax.experiments.sweep')


def main() -> None:
  """Trains what is not trained, and prints the table when all is."""
  from mgc_jax.experiments.sweep import table  # imports JAX

  path = flags.FLAGS.config
  workdir = pathlib.Path(flags.FLAGS.workdir or _default_workdir(path))
  runs = plan(parse_seeds(flags.FLAGS.seeds), _OVERRIDES, workdir)
  check_folds(runs, [check_run(path, run) for run in runs])
  mine = share(runs, dict(os.environ))
  for number, run in enumerate(mine, 1):
    if not run.result():
      _logger.info('run %d of %d: %s', number, len(mine), run.workdir)
      train(path, run)
  finished = sum(run.result() is not None for run in runs)
  if finished < len(runs):
    _logger.info('%d of %d runs are finished', finished, len(runs))
    return
  rows = table.compare(table.scores(runs))
  print(table.markdown(rows))
  table.write(rows, workdir)


def _default_workdir(path: str) -> str:
  """Names a sweep by its settings, so that more seeds can be added to it."""
  settings = [load_config(path, ()).to_json(sort_keys=True), sorted(_OVERRIDES)]
  digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
  return f'runs/sweep-{pathlib.Path(path).stem}-{digest}'


if __name__ == '__main__':
  _OVERRIDES = take_overrides(sys.argv)
  flags.DEFINE_string('config', None, 'The config file, e.g. configs/cnn.py.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of every row: 0,1,2.')
  flags.DEFINE_string(
    'workdir',
    None,
    'Folder of the sweep: a folder per run, sweep.json, sweep.md. Default: '
    'runs/sweep-<config>-<digest of the settings>.',
  )
  flags.mark_flag_as_required('config')
  command_line.run(main)
