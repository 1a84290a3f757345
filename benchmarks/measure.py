"""What the benchmarks share: flags, rounds, ratios, and how they are told."""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Callable, Sequence

import numpy as np

_PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'numpy',
  'tensorflow-cpu',
  'tensorflow',
  'keras',
  'torch',
  'librosa',
)


def parser(description: str) -> argparse.ArgumentParser:
  """Returns the flags that every benchmark has.

  Args:
    description: the module's docstring.
  """
  made = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  made.add_argument(
    '--toy', action='store_true', help='tiny sizes: seconds, and no meaning'
  )
  made.add_argument(
    '--json', type=pathlib.Path, help='file for the figures, as JSON'
  )
  return made


def tell(result: dict, json_path: pathlib.Path | None) -> None:
  """Prints where it ran; writes the figures.

  Args:
    result: figures; `environment` is added.
    json_path: a file for all of it, or None.
  """
  result = {**result, 'environment': environment()}
  where = result['environment']
  versions = ', '.join(f'{k} {v}' for k, v in where['versions'].items())
  print(
    f'{where["processor"]}, {where["cores"]} cores, Python {where["python"]}; '
    f'{versions}',
    flush=True,
  )
  if json_path:
    json_path.write_text(json.dumps(result, indent=1) + '\n')


def environment() -> dict:
  """Returns the processor, the number of cores, and versions."""
  versions = {}
  for name in _PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return {
    'processor': _processor(),
    'cores': len(os.sched_getaffinity(0))
    if hasattr(os, 'sched_getaffinity')
    else os.cpu_count(),
    'system': platform.platform(),
    'python': platform.python_version(),
    'versions': versions,
  }


def _processor() -> str:
  try:
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()


def in_turn(
  measured: dict[str, Callable[[], float]], num_rounds: int
) -> dict[str, list[float]]:
  """Calls each in turn, A B A B, so that all share the machine's bad moments.

  Args:
    measured: functions that return a figure, by name.
    num_rounds: how often each is called.

  Returns:
    The figures of each, in order.
  """
  found: dict[str, list[float]] = {name: [] for name in measured}
  for _ in range(num_rounds):
    for name, function in measured.items():
      found[name].append(function())
  return found


def ratio(figures: Sequence[float], against: Sequence[float]) -> dict:
  """Divides figures by those of the same round.

  Args:
    figures: of ours, a value a round.
    against: of the other.

  Returns:
    `median`, `min` and `max` of the rounds' ratios.
  """
  return spread(np.divide(figures, against))


def spread(values: Sequence[float]) -> dict[str, float]:
  """Returns `median`, `min` and `max`."""
  return {
    'median': float(np.median(values)),
    'min': float(np.min(values)),
    'max': float(np.max(values)),
  }


def told(found: dict[str, float]) -> str:
  """Writes a ratio's median and range: `1.20 x (1.15 to 1.31)`."""
  return '{median:.2f} x ({min:.2f} to {max:.2f})'.format(**found)
