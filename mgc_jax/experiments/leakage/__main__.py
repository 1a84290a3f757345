"""Measures how much a leaking split inflates accuracy.

The three baseline networks and ours are trained in the same way under three
protocols: window (windows of one track in both splits, as in the baseline),
track (tracks are kept whole, but artists are in both splits) and artist (no
artist is in both). Each is trained with several seeds, and only the split
differs. --test_fraction sets the size of random test splits. With
--artist_split=given, the artist protocol uses the manifest's own split and is
evaluated on its test split, or on valid if it has no test split.

Stopped and started again it goes on. It writes ladder.md, ladder.json and
ladder.png.

Example, on ready-made frames, of which there are 12.9 a second as there are of
audio:
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
from mgc_jax.experiments.leakage.plan import NETWORKS, plan_ladder
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.experiments.sweep.runner import (
  check_run,
  parse_seeds,
  take_overrides,
  train,
)
from mgc_jax.system import atomic_file, command_line, figure_file
from mgc_jax.system.errors import DataError

_logger = logging.getLogger(
  'mgc_jax.experiments.leakage'
)  # this module's own is __main__


def main() -> None:
  """Trains what is not trained, and writes table and picture."""
  from mgc_jax.experiments.leakage import table  # imports JAX

  workdir = pathlib.Path(flags.FLAGS.workdir)
  planned = plan_ladder(
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
  # Seed by seed: a ladder of one seed stands early.
  runs.sort(key=lambda run: run.seed)
  for number, run in enumerate(runs, 1):
    if not run.result():
      _logger.info('run %d of %d: %s', number, len(runs), run.workdir)
      train(_config_path(run), run)
  rows = [table.summarise(*key, group) for key, group in planned.items()]
  text = table.markdown(rows)
  print(text)
  try:
    report.write_json(workdir / 'ladder.json', {'rows': rows})
    atomic_file.write_bytes(workdir / 'ladder.md', f'{text}\n'.encode())
  except OSError as error:
    raise DataError(f'{workdir}: the ladder is not written: {error}') from error
  picture = workdir / 'ladder.png'
  with figure_file.never_stopping(picture):
    from mgc_jax.evaluation import plots

    plots.plot_ladder(rows, picture)


def _config_path(run: Run) -> str:
  return f'{flags.FLAGS.configs}/{run.row}.py'


if __name__ == '__main__':
  _OVERRIDES = take_overrides(sys.argv)
  flags.DEFINE_string('configs', 'configs', 'Folder of the config files.')
  flags.DEFINE_list('networks', list(NETWORKS), 'Those of the ladder.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of every row: 0,1,2.')
  flags.DEFINE_float(
    'test_fraction', 0.3, 'Of the tracks, where the split is random.', 0.0, 1.0
  )
  flags.DEFINE_enum(
    'artist_split',
    'random',
    ['random', 'given'],
    'Where the artist rung has its split from.',
  )
  flags.DEFINE_string('workdir', 'runs/ladder', 'Folder of all its runs.')
  command_line.run(main)
