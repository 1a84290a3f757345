"""Plans the runs of a sweep and divides them among tasks."""

import dataclasses
import hashlib
import itertools
import json
import math
import pathlib
import re
from typing import Any

from mgc_jax.config.schema import Config
from mgc_jax.system.errors import ConfigError, DataError

FOLD = 'data.fold'
_RESULTS_FILE = 'results.json'


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run of a sweep."""

  row: str  # the fields that differ between rows: field=value, ...
  seed: int
  overrides: tuple[str, ...]  # --config.FIELD=VALUE
  workdir: pathlib.Path

  def result(self) -> dict[str, Any] | None:
    """Returns its `results.json`; None if it is missing or damaged."""
    path = self.workdir / _RESULTS_FILE
    try:
      found = dict(json.loads(path.read_text(encoding='utf-8')))
      return found if math.isfinite(found['track_accuracy']) else None
    except (OSError, LookupError, TypeError, ValueError):
      return None

  def finished_result(self) -> dict[str, Any]:
    """Returns its `results.json`; raises `DataError` if there is none."""
    found = self.result()
    if found is None:
      raise DataError(f'{self.workdir}: this run has no result')
    return found


def split_values(text: str) -> list[str]:
  """Splits at commas outside of brackets and quotes.

  Args:
    text: e.g. `a,b`. A tuple is one value, as in `(1,2),(3,4)`, and so is a
      quoted text, whose quotes are removed.
  """
  whole = (r'\([^()]*\)', r'\[[^\[\]]*\]', r"'[^']*'", r'"[^"]*"', r'[^,]')
  values = re.findall(f'(?:{"|".join(whole)})+', text) or ['']
  return [re.sub(r'^([\'"])(.*)\1$', r'\2', value) for value in values]


def split_override(override: str) -> tuple[str, str]:
  """Returns the field and the value of `--config.FIELD=VALUE`.

  Raises:
    ConfigError: the value is missing.
  """
  name, equals, text = override.removeprefix('--config.').partition('=')
  if not equals:
    raise ConfigError(f'{override}: needs a value, --config.FIELD=VALUE')
  return name, text


def plan(
  seeds: list[int], overrides: list[str], workdir: pathlib.Path
) -> list[Run]:
  """Returns the runs, ordered by row, then seed, then fold.

  Args:
    seeds: random seeds; each row is trained with each of them.
    overrides: `--config.FIELD=VALUE[,VALUE]`; rows differ in the fields with
      several values.
    workdir: folder of the sweep, which has a subfolder for each run.

  Raises:
    ConfigError: there is no seed, an override has no value or sets the seed, or
      a seed, a field or a value is given twice.
  """
  if not seeds:
    raise ConfigError('--seeds: needs at least one')
  fields: dict[str, list[str]] = {}
  for override in overrides:
    name, text = split_override(override)
    if name == 'seed':
      raise ConfigError(f'{override}: use --seeds to set the seeds')
    if name in fields:
      raise ConfigError(f'{override}: given twice; list all values in one flag')
    fields[name] = split_values(text)
  runs = []
  folds = fields.pop(FOLD, [''])
  for values in itertools.product(*fields.values()):
    chosen = dict(zip(fields, values, strict=True))
    own = [f'{k}={v}' for k, v in chosen.items() if len(fields[k]) > 1]
    row = ', '.join(own) or 'as configured'
    folder = workdir / (_folder_name(','.join(own)) or 'run')
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
    raise ConfigError('a seed or a value is given twice')
  return runs


def _folder_name(text: str) -> str:
  """Returns a folder name that is different for different texts."""
  name = re.sub(r'[^\w.=-]+', '_', text)[:100]
  digest = hashlib.sha256(text.encode()).hexdigest()[:6]
  return name if name == text else f'{name}-{digest}'


def check_folds(runs: list[Run], configs: list[Config]) -> None:
  """Checks before any training that the folds of each row can be combined.

  Args:
    runs: all runs of the sweep.
    configs: the configuration of each run.

  Raises:
    ConfigError: a row has several folds of a cross-validation, but not all, or
      they are not evaluated on the test split.
  """
  folds: dict[tuple[str, int], list[int]] = {}
  for run, config in zip(runs, configs, strict=True):
    folds.setdefault((run.row, run.seed), []).append(config.data.fold)
  for run, config in zip(runs, configs, strict=True):
    found = folds[run.row, run.seed]
    if len(found) == 1:
      continue
    if sorted(found) != list(range(config.data.num_folds)):
      raise ConfigError(
        f'--config.{FOLD}={",".join(map(str, found))}: must be one, or all of '
        f'config.data.num_folds={config.data.num_folds}'
      )
    if config.data.eval_split not in (None, 'test'):
      raise ConfigError(
        f'config.data.eval_split={config.data.eval_split}: must be test to '
        'combine folds'
      )


def share(runs: list[Run], environment: dict[str, str]) -> list[Run]:
  """Returns the runs of this task: all, or its share in a SLURM array.

  Args:
    runs: all runs of the sweep.
    environment: the environment variables, `os.environ`.

  Raises:
    ConfigError: the task numbers of the array have gaps.
  """
  if 'SLURM_ARRAY_TASK_ID' not in environment:
    return runs
  task, low, count, step = (
    int(environment.get(f'SLURM_ARRAY_TASK_{name}', default))
    for name, default in (('ID', 0), ('MIN', 0), ('COUNT', 1), ('STEP', 1))
  )
  high = int(environment.get('SLURM_ARRAY_TASK_MAX', 0))
  if (high - low) // step + 1 != count:
    raise ConfigError('sbatch --array: must be a range, as in --array=0-5')
  return runs[(task - low) // step :: count]
