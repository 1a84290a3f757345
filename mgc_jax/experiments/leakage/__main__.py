"""Measures how much a leaking split inflates accuracy.

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
  python -m mgc_jax.experiments.leakage \
    --artist_split=given --test_fraction=0.308 \
    --config.data.source=manifest --config.data.root=$DATA/gtzan_logmel \
    --config.data.manifest=manifest.csv
"""

import logging
import pathlib
import sys

from absl import flags

from mgc_jax.evaluation import report
from mgc_jax.experiments.leakage.plan import NETWORKS, plan_runs
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.experiments.sweep.runner import (
  check_run,
  parse_seeds,
  take_overrides,
  train,
)
from mgc_jax.system import atomic_file, command_line, figure_file
from mgc_jax.system.errors import DataError

# Named explicitly because __name__ is __main__.
_logger = logging.getLogger('mgc_jax.experiments.leakage')


def main() -> None:
  """Trains what is not trained, and writes table and picture."""
  from mgc_jax.experiments.leakage import table  # imports JAX

  workdir = pathlib.Path(flags.FLAGS.workdir)
  planned = plan_runs(
    flags.FLAGS.networks,
    parse_seeds(flags.FLAGS.seeds),
    _OVERRIDES,
    workdir,
    flags.FLAGS.test_fraction,
    flags.FLAGS.artist_split,
  )
  runs = [run for group in planned.values() for run in group]
  for run in runs:
    check_run(_config_path(run), run)
  # Seed by seed, so that the first seed is complete early.
  runs.sort(key=lambda run: run.seed)
  for number, run in enumerate(runs, 1):
    if not run.result():
      _logger.info('run %d of %d: %s', number, len(runs), run.workdir)
      train(_config_path(run), run)
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


def _config_path(run: Run) -> str:
  return f'{flags.FLAGS.configs}/{run.row}.py'


if __name__ == '__main__':
  _OVERRIDES = take_overrides(sys.argv)
  flags.DEFINE_string('configs', 'configs', 'Folder of the config files.')
  flags.DEFINE_list('networks', list(NETWORKS), 'Networks to train.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of every row: 0,1,2.')
  flags.DEFINE_float(
    'test_fraction', 0.3, 'Of the tracks, where the split is random.', 0.0, 1.0
  )
  flags.DEFINE_enum(
    'artist_split',
    'random',
    ['random', 'given'],
    'The split of the artist protocol.',
  )
  flags.DEFINE_string('workdir', 'runs/leakage', 'Folder of all its runs.')
  command_line.run(main)
