"""What is free: of the machine, and inside a container's limits."""

import pytest

from mgc_jax.training.memory import free_bytes, free_host_bytes


@pytest.fixture
def files(tmp_path):
  """A machine with 1,000 KiB available, and a folder for limits."""
  meminfo = tmp_path / 'meminfo'
  meminfo.write_text('MemTotal: 9000 kB\nMemAvailable:    1000 kB\n')
  return meminfo, tmp_path


def test_of_this_machine():
  assert 1 << 20 < free_bytes() < 1 << 50


def test_without_limits_it_is_what_is_available(files):
  assert free_host_bytes(*files) == 1000 * 1024


def test_a_container_s_limit_counts(files):
  (files[1] / 'memory.max').write_text('500000\n')
  (files[1] / 'memory.current').write_text('200000\n')
  assert free_host_bytes(*files) == 300000


def test_no_limit_and_a_limit_overrun(files):
  (files[1] / 'memory.max').write_text('max\n')
  (files[1] / 'memory.current').write_text('200000\n')
  assert free_host_bytes(*files) == 1000 * 1024
  folder = files[1] / 'memory'
  folder.mkdir()
  (folder / 'memory.limit_in_bytes').write_text('5')
  (folder / 'memory.usage_in_bytes').write_text('9')
  assert free_host_bytes(*files) == 0


def test_elsewhere_than_on_linux_half_of_the_memory(tmp_path):
  found = free_host_bytes(tmp_path / 'none', tmp_path)
  assert 1 << 28 < found < 1 << 50
