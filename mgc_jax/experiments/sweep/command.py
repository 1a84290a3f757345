r"""Trains several seeds of several settings, and compares them in one table.

Runs are trained one after another. Interrupted runs are resumed and finished
ones are not repeated, so the same command prints the table again. Each value of
a field is a row; several fields give all combinations. Folds are combined: with
--config.data.num_folds=5 --config.data.fold=0,1,2,3,4, each seed is trained
five times and scored once, on all tracks.

Examples:
  mgc sweep --config=configs/cnn.py --seeds=0,1,2
  mgc sweep --config=configs/cnn.py --seeds=0,1,2 \
    --config.train.learning_rate=0.001,0.002 --workdir=runs/rates

In a SLURM array job, each task trains its share of the runs:
  sbatch --array=0-5 --gpus=1 \
    --wrap="mgc sweep --config=configs/cnn.py --seeds=0,1,2,3,4,5"
"""

import argparse
import hashlib
import json
import logging
import os
import pathlib
import time

from tqdm import tqdm

from mgc_jax.config.flags import load_config
from mgc_jax.experiments import flags
from mgc_jax.experiments.sweep.plan import check_folds, plan, share
from mgc_jax.experiments.sweep.runner import check_run, parse_seeds, train
from mgc_jax.system.arguments import CONTINUES, Command, Parser

_logger = logging.getLogger(__name__)


def _run(args: argparse.Namespace) -> None:
  """Trains the unfinished runs; prints the table once all are trained."""
  from mgc_jax.experiments.sweep import table  # imports JAX

  path, overrides = args.config, args.overrides
  workdir = pathlib.Path(args.workdir or _default_workdir(path, overrides))
  runs = plan(parse_seeds(args.seeds), overrides, workdir)
  check_folds(runs, [check_run(path, run) for run in runs])
  mine = share(runs, dict(os.environ))
  to_do = [run for run in mine if not run.result()]
  start_s = time.monotonic()
  for number, run in enumerate(to_do):
    left = ''
    if number:
      seconds = (time.monotonic() - start_s) / number * (len(to_do) - number)
      left = f', about {tqdm.format_interval(seconds)} left in all'
    position = mine.index(run) + 1
    _logger.info('run %d of %d%s: %s', position, len(mine), left, run.workdir)
    train(path, run)
  finished = sum(run.result() is not None for run in runs)
  if finished < len(runs):
    _logger.info('%d of %d runs are finished', finished, len(runs))
    return
  rows = table.compare(table.scores(runs))
  print(table.markdown(rows))
  table.write(rows, workdir)


def _default_workdir(path: str, overrides: list[str]) -> str:
  """Names a sweep by its settings, so that more seeds can be added to it."""
  settings = [load_config(path).to_json(sort_keys=True), sorted(overrides)]
  digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
  return f'runs/sweep-{pathlib.Path(path).stem}-{digest}'


def _add_arguments(parser: Parser) -> None:
  parser.add_config()
  flags.add_seeds(parser, ['0', '1', '2'])
  flags.add_workdir(
    parser,
    None,
    'Folder of the sweep: a folder per run, sweep.json, sweep.md. '
    'Default: runs/sweep-<config>-<digest of the settings>.',
  )


COMMAND = Command(__doc__, _add_arguments, _run, CONTINUES)
