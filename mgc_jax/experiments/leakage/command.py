r"""Measures how much a leaking split inflates accuracy.

The three baseline networks and ours are trained in the same way under three
protocols: window (windows of one track are in both splits, as in the baseline),
track (tracks stay whole, but artists are in both splits) and artist (no artist
is in both). Each is trained with several seeds, and only the split differs.
--test_fraction sets the size of random test splits. With --artist_split=given,
the artist protocol uses the manifest's own split and is evaluated on its test
split, or on valid if it has no test split.

If it is interrupted, the same command resumes it. It writes leakage.md,
leakage.json and leakage.png.

Example with precomputed frames, at 12.9 frames per second as from audio:
  mgc leakage --artist_split=given --test_fraction=0.308 \
    --config.data.source=manifest --config.data.root=$DATA/gtzan_logmel \
    --config.data.manifest=manifest.csv
"""

import argparse
import logging
import pathlib

from mgc_jax.evaluation import report
from mgc_jax.experiments import flags
from mgc_jax.experiments.leakage.plan import NETWORKS, plan_runs
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.experiments.sweep.runner import check_run, parse_seeds, train
from mgc_jax.system import atomic_file, figure_file
from mgc_jax.system.arguments import (
  CONTINUES,
  Command,
  Parser,
  comma_list,
  real_number,
)
from mgc_jax.system.errors import DataError

_logger = logging.getLogger(__name__)


def _run(args: argparse.Namespace) -> None:
  """Trains the unfinished runs, and writes the table and the plot."""
  from mgc_jax.experiments.leakage import table  # imports JAX

  workdir = pathlib.Path(args.workdir)
  planned = plan_runs(
    args.networks,
    parse_seeds(args.seeds),
    args.overrides,
    workdir,
    args.test_fraction,
    args.artist_split,
  )
  runs = [run for group in planned.values() for run in group]
  for run in runs:
    check_run(_config_path(args, run), run)
  # Seed by seed, so that the first seed is complete early.
  runs.sort(key=lambda run: run.seed)
  for number, run in enumerate(runs, 1):
    if not run.result():
      _logger.info('run %d of %d: %s', number, len(runs), run.workdir)
      train(_config_path(args, run), run)
  rows = [table.summarise(*key, group) for key, group in planned.items()]
  text = table.markdown(rows)
  print(text)
  try:
    report.write_json(workdir / 'leakage.json', {'rows': rows})
    atomic_file.write_bytes(workdir / 'leakage.md', f'{text}\n'.encode())
  except OSError as error:
    raise DataError(f'{workdir}: the table was not written: {error}') from error
  picture = workdir / 'leakage.png'
  with figure_file.never_stopping(picture):
    from mgc_jax.evaluation import plots

    plots.plot_leakage(rows, picture)


def _config_path(args: argparse.Namespace, run: Run) -> str:
  return f'{args.configs}/{run.row}.py'


def _add_arguments(parser: Parser) -> None:
  parser.add_overrides()
  flags.add_configs(parser)
  parser.add_argument(
    '--networks',
    type=comma_list,
    default=list(NETWORKS),
    metavar='NAME,...',
    help='Networks to train.',
  )
  flags.add_seeds(parser, ['0', '1', '2'])
  parser.add_argument(
    '--test_fraction',
    type=real_number(0, 1),
    default=0.3,
    metavar='F',
    help='Fraction of the tracks in random test splits.',
  )
  parser.add_argument(
    '--artist_split',
    choices=['random', 'given'],
    default='random',
    help='The split of the artist protocol.',
  )
  flags.add_workdir(parser, 'runs/leakage')


COMMAND = Command(__doc__, _add_arguments, _run, CONTINUES)
