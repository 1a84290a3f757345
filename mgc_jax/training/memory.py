"""Measures free memory: of the devices, and of the machine or container."""

import os
import pathlib

import jax

_CGROUPS = (  # limit and usage inside a container, for cgroups 2 and 1
  ('memory.max', 'memory.current'),
  ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes'),
)


def free_bytes() -> int:
  """Returns the free bytes on the fullest of this process's devices."""
  if jax.default_backend() == 'cpu':
    return free_host_bytes()
  free = []
  for device in jax.local_devices():
    stats = device.memory_stats()
    if not stats or 'bytes_limit' not in stats:
      return 0  # this device does not report them
    free.append(stats['bytes_limit'] - stats['bytes_in_use'])
  return min(free)


def free_host_bytes(
  meminfo: pathlib.Path = pathlib.Path('/proc/meminfo'),
  cgroup: pathlib.Path = pathlib.Path('/sys/fs/cgroup'),
) -> int:
  """Returns the free bytes of the machine, within the limit of a container.

  Args:
    meminfo: Linux's file. If there is none, half of the physical memory is
      assumed to be free.
    cgroup: the folder with the container's limits.
  """
  free = _available(meminfo)
  for limit, usage in _CGROUPS:
    try:
      left = int((cgroup / limit).read_text())
      left -= int((cgroup / usage).read_text())
    except (OSError, ValueError):  # no container, or no limit (`max`)
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
