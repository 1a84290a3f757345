"""Shared by the benchmarks: flags, repetitions, ratios and their output."""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

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
  """Returns a parser with the flags that all benchmarks have.

  Args:
    description: the docstring of the benchmark.
  """
  made = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  made.add_argument(
    '--toy', action='store_true', help='tiny sizes, with meaningless results'
  )
  made.add_argument(
    '--json', type=pathlib.Path, help='JSON file for the results'
  )
  return made


def write_results(result: dict, json_path: pathlib.Path | None) -> None:
  """Prints the environment and writes the results.

  Args:
    result: the results, to which `environment` is added.
    json_path: the file to write, or None.
  """
  result = {**result, 'environment': environment()}
  found = result['environment']
  versions = ', '.join(f'{k} {v}' for k, v in found['versions'].items())
  print(
    f'{found["processor"]}, {found["cores"]} cores, Python {found["python"]}; '
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
  """Calls functions alternately (A B A B), so that noise affects all equally.

  Args:
    measured: functions that return a measurement, by name.
    num_rounds: how often each one is called.

  Returns:
    The measurements of each function, in order.
  """
  found: dict[str, list[float]] = {name: [] for name in measured}
  for _ in range(num_rounds):
    for name, function in measured.items():
      found[name].append(function())
  return found


def set_up_beside_torch(toy: bool) -> None:
  """Sets up JAX in a process that PyTorch uses as well.

  Args:
    toy: whether the measured times do not matter.
  """
  from mgc_jax.system import jax_runtime

  # PyTorch needs memory of the same device.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  if toy:  # PyTorch's threads would wait at full load
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
  jax_runtime.set_up()


def seconds_of(
  call: Callable[[], Any], wait: Callable[[], Any], at_least_s: float
) -> float:
  """Returns the seconds per call; starts many calls before it waits.

  Args:
    call: starts the work.
    wait: waits until the work of the last call is done.
    at_least_s: the minimum duration of all calls together.
  """
  count = 1
  while True:
    start_s = time.perf_counter()
    for _ in range(count):
      call()
    wait()
    seconds = time.perf_counter() - start_s
    if seconds >= at_least_s:
      return seconds / count
    count = max(2 * count, int(count * at_least_s / seconds))


def ratio(figures: Sequence[float], against: Sequence[float]) -> dict:
  """Divides measurements by others of the same round.

  Args:
    figures: the numerators, one per round.
    against: the denominators, one per round.

  Returns:
    `median`, `min` and `max` of the ratios.
  """
  return spread(np.divide(figures, against))


def spread(values: Sequence[float]) -> dict[str, float]:
  """Returns `median`, `min` and `max`."""
  return {
    'median': float(np.median(values)),
    'min': float(np.min(values)),
    'max': float(np.max(values)),
  }


def format_ratio(found: dict[str, float]) -> str:
  """Formats the median and range of a ratio: `1.20 x (1.15 to 1.31)`."""
  return '{median:.2f} x ({min:.2f} to {max:.2f})'.format(**found)
