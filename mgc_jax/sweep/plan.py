"""Which runs a sweep consists of, and whose turn they are."""

import dataclasses
import itertools
import pathlib
import re

from mgc_jax.errors import ConfigError

FOLD = 'data.fold'
_RESULTS_FILE = 'results.json'


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run of a sweep."""

  row: str  # what it has that other rows have not: field=value, ...
  seed: int
  overrides: tuple[str, ...]  # --config.FIELD=VALUE
  workdir: pathlib.Path

  def is_finished(self) -> bool:
    """Returns whether it has a result."""
    return (self.workdir / _RESULTS_FILE).exists()


def split_values(text: str) -> list[str]:
  """Splits at commas, but for those in brackets or quotes.

  Args:
    text: `a,b`; a tuple is one value, as in `(1,2),(3,4)`.
  """
  parts = re.findall(
    r'(?:\([^()]*\)|\[[^\[\]]*\]|\'[^\']*\'|"[^"]*"|[^,])+', text
  )
  return parts or ['']


def plan(
  seeds: list[int], overrides: list[str], workdir: pathlib.Path
) -> list[Run]:
  """Returns the runs, row by row, seed by seed, fold by fold.

  Args:
    seeds: of each row.
    overrides: `--config.FIELD=VALUE[,VALUE]`; those with several values are
      what is compared.
    workdir: of the sweep; each run has a folder in it.

  Raises:
    ConfigError: an override is none, or names the seed.
  """
  fields: dict[str, list[str]] = {}
  for override in overrides:
    name, equals, text = override.removeprefix('--config.').partition('=')
    if not equals:
      raise ConfigError(f'{override}: needs a value, --config.FIELD=VALUE')
    if name == 'seed':
      raise ConfigError(f'{override}: name the seeds by --seeds')
    if name in fields:
      raise ConfigError(f'{override}: named twice; give all values in one')
    fields[name] = split_values(text)
  runs = []
  folds = fields.pop(FOLD, [''])
  for values in itertools.product(*fields.values()):
    chosen = dict(zip(fields, values, strict=True))
    own = [f'{k}={v}' for k, v in chosen.items() if len(fields[k]) > 1]
    row = ', '.join(own) or 'as configured'
    folder = workdir / (re.sub(r'[^\w.=-]+', '_', ','.join(own)) or 'run')
    for seed, fold in itertools.product(seeds, folds):
      named = {**chosen, 'seed': str(seed), **({FOLD: fold} if fold else {})}
      runs.append(
        Run(
          row,
          seed,
          tuple(f'--config.{k}={v}' for k, v in named.items()),
          folder / (f'seed{seed}' + (f'-fold{fold}' if fold else '')),
        )
      )
  if len({run.workdir for run in runs}) < len(runs):
    raise ConfigError('a seed or a value is named twice')
  return runs


def share(runs: list[Run], environment: dict[str, str]) -> list[Run]:
  """Returns the runs of this task: all, or its part of a SLURM array.

  Args:
    runs: of the sweep.
    environment: `os.environ`.
  """
  if 'SLURM_ARRAY_TASK_ID' not in environment:
    return runs
  task, low, count, step = (
    int(environment.get(f'SLURM_ARRAY_TASK_{name}', default))
    for name, default in (('ID', 0), ('MIN', 0), ('COUNT', 1), ('STEP', 1))
  )
  return runs[(task - low) // step :: count]
