"""The processor cores that this process may use."""

import functools
import os

import threadpoolctl


def count() -> int:
  """Returns the number of cores, fewer than the machine has under taskset."""
  if hasattr(os, 'sched_getaffinity'):  # Linux
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


@functools.cache
def use_one_blas_thread() -> None:
  """Makes this process use one core for linear algebra from now on.

  For worker processes, of which a machine has one for each core.
  """
  threadpoolctl.threadpool_limits(1, 'blas')
