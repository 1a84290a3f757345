"""The processor cores that this process may use."""

import os


def count() -> int:
  """Returns the number of cores, fewer than the machine has under taskset."""
  if hasattr(os, 'sched_getaffinity'):  # Linux
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
