"""A Dask cluster whose hosts can be killed or cut off.

Where the user may create network namespaces, each host is one of its own, with
its own address and link. Elsewhere hosts are groups of processes.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

from tests.processes import Process, descendants

_PORT = 8786
# How soon a silent host counts as lost.
_QUICK = {
  'DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP': '13s',  # the least that works
  'DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL': '6s',
}


class Host:
  """Starts processes on a host."""

  def __init__(self, namespace=None, link=None):
    self._namespace, self._link = namespace, link
    self._processes = []

  def start(self, *words, **env):
    """Starts `python -m words`."""
    inside = ['ip', 'netns', 'exec', self._namespace] * bool(self._namespace)
    command = [*inside, sys.executable, '-m', *words]
    process = Process(command, **{**_QUICK, **env})
    self._processes.append(process)
    return process

  def kill(self):
    """Kills all processes of the host at once, as a power cut would."""
    pids = [p.pid for p in self._processes if not p.has_ended()]
    pids += [child for pid in pids for child in descendants(pid)]
    for pid in pids:
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for process in self._processes:
      process.wait()

  def cut_off(self):
    """Takes the link of the host down; its processes go on."""
    _ip('-n', self._namespace, 'link', 'set', self._link, 'down')


class Cluster:
  """A host for the scheduler and the commands, and two for workers.

  Attributes:
    driver: the host of the scheduler.
    workers: the hosts of the workers.
    address: that of the scheduler, for commands on its host.
    has_links: whether hosts can be cut off.
  """

  def __init__(self, **env):
    """Starts it; the variables are added to the environment of workers."""
    self.has_links = _has_namespaces()
    self._namespaces, self.workers = [], []
    self.driver = Host()
    try:
      self._start(env)
    except BaseException:
      self.close()
      raise

  def _start(self, env):
    prefix = f'mgc{os.getpid()}'
    if self.has_links:
      self.driver = Host(self._namespace(f'{prefix}d'))
      for i in range(2):
        self.workers.append(self._linked(f'{prefix}w{i}', i))
      port, at = _PORT, ['10.213.0.1', '10.213.1.1']
    else:
      self.workers = [Host(), Host()]
      port, at = _PORT + 1 + os.getpid() % 20000, ['127.0.0.1'] * 2
    self.address = f'tcp://127.0.0.1:{port}'
    words = ('distributed.cli.dask_scheduler', f'--port={port}')
    self.scheduler = self.driver.start(*words, '--no-dashboard')
    self._wait_for(self.scheduler, 'Scheduler at')
    started = [
      host.start(
        'distributed.cli.dask_worker',
        f'tcp://{address}:{port}',
        '--nthreads=1',
        '--no-dashboard',
        **env,
      )
      for host, address in zip(self.workers, at, strict=True)
    ]
    for process in started:
      self._wait_for(process, 'Registered to')

  def _namespace(self, name):
    _ip('netns', 'add', name)
    self._namespaces.append(name)
    _ip('-n', name, 'link', 'set', 'lo', 'up')
    return name

  def _linked(self, name, number):
    """Makes a host with a link to the driver's."""
    driver, host = self._namespaces[0], self._namespace(name)
    ends = f'{name}a', f'{name}b'
    _ip('link', 'add', ends[0], 'type', 'veth', 'peer', 'name', ends[1])
    for end, namespace, last in zip(ends, (driver, host), (1, 2), strict=True):
      _ip('link', 'set', end, 'netns', namespace)
      address = f'10.213.{number}.{last}/24'
      _ip('-n', namespace, 'addr', 'add', address, 'dev', end)
      _ip('-n', namespace, 'link', 'set', end, 'up')
    return Host(host, ends[1])

  def _wait_for(self, process, text):
    process.wait_for(lambda: text in process.output)
    assert not process.has_ended(), process.output

  def close(self):
    """Kills all of it."""
    for host in (*self.workers, self.driver):
      host.kill()
    for name in self._namespaces:
      _ip('netns', 'del', name)


def _has_namespaces():
  if os.geteuid() or not shutil.which('ip'):
    return False
  name = f'mgc{os.getpid()}t'
  if subprocess.run(['ip', 'netns', 'add', name], check=False).returncode:
    return False
  _ip('netns', 'del', name)
  return True


def _ip(*words):
  subprocess.run(['ip', *words], check=True)
