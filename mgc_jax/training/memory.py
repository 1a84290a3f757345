"""How much memory is free, on the device or, on CPU, for this process."""

import os
import pathlib

import jax

_CGROUPS = (  # limit and use, of versions 2 and 1, inside a container
  ('memory.max', 'memory.current'),
  ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes'),
)


def free_bytes() -> int:
  """Returns what can still be put on each of this process's devices."""
  if jax.default_backend() == 'cpu':
    return free_host_bytes()
  free = []
  for device in jax.local_devices():
    stats = device.memory_stats()
    if not stats or 'bytes_limit' not in stats:
      return 0  # a device that does not say
    free.append(stats['bytes_limit'] - stats['bytes_in_use'])
  return min(free)


def free_host_bytes(
  meminfo: pathlib.Path = pathlib.Path('/proc/meminfo'),
  cgroup: pathlib.Path = pathlib.Path('/sys/fs/cgroup'),
) -> int:
  """Returns the machine's free memory, or what a container's limit leaves.

  Args:
    meminfo: Linux's file; without it half of the physical memory is assumed.
    cgroup: the folder of the container's limits.
  """
  free = _available(meminfo)
  for limit, usage in _CGROUPS:
    try:
      left = int((cgroup / limit).read_text())
      left -= int((cgroup / usage).read_text())
    except (OSError, ValueError):  # no container, or `max`: no limit
      continue
    free = min(free, max(0, left))
  return free


def _available(meminfo: pathlib.Path) -> int:
  try:
    for line in meminfo.read_text().splitlines():
      if line.startswith('MemAvailable:'):
        return int(line.split()[1]) * 1024
  except OSError:
    pass
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2
