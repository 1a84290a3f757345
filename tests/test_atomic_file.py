"""A file is the old one or the new one, never a part of it."""

import sys

import pytest

from mgc_jax.system import atomic_file
from tests.processes import Process

SLOW = """
import sys, time
from mgc_jax.system import atomic_file

with atomic_file.writing(sys.argv[1]) as partial:
  partial.write_text('half')
  print('half', flush=True)
  time.sleep(60)
"""


def test_a_failed_write_leaves_the_file_unchanged(tmp_path):
  path = tmp_path / 'a.txt'
  atomic_file.write_bytes(path, b'old')
  with pytest.raises(ZeroDivisionError), atomic_file.writing(path) as partial:
    partial.write_text('new')
    raise ZeroDivisionError
  assert [x.name for x in tmp_path.iterdir()] == ['a.txt']
  assert path.read_bytes() == b'old'
  atomic_file.write_bytes(path, b'new')
  assert path.read_bytes() == b'new'


def test_a_killed_process_leaves_the_file_unchanged(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('old')
  process = Process([sys.executable, '-c', SLOW, path])
  process.wait_for(lambda: 'half' in process.output)
  assert 'half' in process.output
  process.kill()
  assert path.read_text() == 'old'
