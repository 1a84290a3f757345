"""Free memory of the machine, and within a container's limits."""

import pytest

from mgc_jax.training.memory import free_bytes, free_host_bytes


@pytest.fixture
def files(tmp_path):
  """A machine with 1,000 KiB available, and a folder for limits."""
  meminfo = tmp_path / 'meminfo'
  meminfo.write_text('MemTotal: 9000 kB\nMemAvailable:    1000 kB\n')
  return meminfo, tmp_path


def test_this_machine_has_free_memory():
  assert 1 << 20 < free_bytes() < 1 << 50


def test_without_limits_the_available_memory_is_free(files):
  assert free_host_bytes(*files) == 1000 * 1024


def test_a_container_s_limit_is_respected(files):
  (files[1] / 'memory.max').write_text('500000\n')
  (files[1] / 'memory.current').write_text('200000\n')
  assert free_host_bytes(*files) == 300000


def test_no_limit_leaves_all_and_an_exceeded_limit_nothing(files):
  (files[1] / 'memory.max').write_text('max\n')
  (files[1] / 'memory.current').write_text('200000\n')
  assert free_host_bytes(*files) == 1000 * 1024
  folder = files[1] / 'memory'
  folder.mkdir()
  (folder / 'memory.limit_in_bytes').write_text('5')
  (folder / 'memory.usage_in_bytes').write_text('9')
  assert free_host_bytes(*files) == 0


def test_without_meminfo_half_of_the_memory_is_free(tmp_path):
  found = free_host_bytes(tmp_path / 'none', tmp_path)
  assert 1 << 28 < found < 1 << 50
