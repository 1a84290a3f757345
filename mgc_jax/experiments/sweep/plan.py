"""Which runs a sweep consists of, and whose turn they are."""

import dataclasses
import hashlib
import itertools
import json
import math
import pathlib
import re
from typing import Any

from ml_collections import ConfigDict

from mgc_jax.system.errors import ConfigError, DataError

FOLD = 'data.fold'
_RESULTS_FILE = 'results.json'


@dataclasses.dataclass(frozen=True)
class Run:
  """One training run of a sweep."""

  row: str  # what it has that other rows have not: field=value, ...
  seed: int
  overrides: tuple[str, ...]  # --config.FIELD=VALUE
  workdir: pathlib.Path

  def result(self) -> dict[str, Any] | None:
    """Returns its `results.json`; None where it has none that can be read."""
    path = self.workdir / _RESULTS_FILE
    try:
      found = dict(json.loads(path.read_text(encoding='utf-8')))
      return found if math.isfinite(found['track_accuracy']) else None
    except (OSError, LookupError, TypeError, ValueError):
      return None

  def finished_result(self) -> dict[str, Any]:
    """Returns what `result` does; raises `DataError` where it has none."""
    found = self.result()
    if found is None:
      raise DataError(f'{self.workdir}: this run has no result')
    return found


def split_values(text: str) -> list[str]:
  """Splits at commas, but for those in brackets or quotes.

  Args:
    text: `a,b`; a tuple is one value, as in `(1,2),(3,4)`, and so is what is
      in quotes, which are taken away.
  """
  whole = (r'\([^()]*\)', r'\[[^\[\]]*\]', r"'[^']*'", r'"[^"]*"', r'[^,]')
  values = re.findall(f'(?:{"|".join(whole)})+', text) or ['']
  return [re.sub(r'^([\'"])(.*)\1$', r'\2', value) for value in values]


def split_override(override: str) -> tuple[str, str]:
  """Returns field and value of `--config.FIELD=VALUE`.

  Raises:
    ConfigError: it has no value.
  """
  name, equals, text = override.removeprefix('--config.').partition('=')
  if not equals:
    raise ConfigError(f'{override}: needs a value, --config.FIELD=VALUE')
  return name, text


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
    ConfigError: there is no seed, an override is none or names the seed, or a
      seed, a field or a value is named twice.
  """
  if not seeds:
    raise ConfigError('--seeds: names none')
  fields: dict[str, list[str]] = {}
  for override in overrides:
    name, text = split_override(override)
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
    raise ConfigError('a seed or a value is named twice')
  return runs


def _folder_name(text: str) -> str:
  """Returns a name for a folder; different texts have different names."""
  name = re.sub(r'[^\w.=-]+', '_', text)[:100]
  digest = hashlib.sha256(text.encode()).hexdigest()[:6]
  return name if name == text else f'{name}-{digest}'


def check_folds(runs: list[Run], configs: list[ConfigDict]) -> None:
  """Sees, before anything is trained, that folds can be added up.

  Args:
    runs: of the sweep.
    configs: of each run.

  Raises:
    ConfigError: a row has some folds of a cross-validation, but not all.
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
        f'config.data.eval_split={config.data.eval_split}: folds are added up '
        'in their test splits'
      )


def share(runs: list[Run], environment: dict[str, str]) -> list[Run]:
  """Returns the runs of this task: all, or its part of a SLURM array.

  Args:
    runs: of the sweep.
    environment: `os.environ`.

  Raises:
    ConfigError: the array's numbers have gaps.
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
