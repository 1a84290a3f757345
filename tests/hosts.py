"""Hosts with their own addresses and links, which can be killed or cut off.

Where the user may create network namespaces, each host is one of these.
Elsewhere hosts are groups of processes of this machine.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from tests.processes import Process, descendants


class Host:
  """Starts processes on a host."""

  def __init__(self, namespace=None, link=None):
    self.namespace, self._link = namespace, link
    self._processes = []

  def start(self, *words, **env):
    """Starts `python -m words`."""
    inside = ['ip', 'netns', 'exec', self.namespace] * bool(self.namespace)
    process = Process([*inside, sys.executable, '-m', *words], **env)
    self._processes.append(process)
    return process

  def kill(self):
    """Kills all processes of the host at once, as a power cut would."""
    self._signal(signal.SIGKILL)
    for process in self._processes:
      process.wait()

  def pause(self):
    """Stops all processes of the host until `resume`."""
    self._signal(signal.SIGSTOP)

  def resume(self):
    """Lets the processes go on."""
    self._signal(signal.SIGCONT)

  def _signal(self, number):
    pids = [p.pid for p in self._processes if not p.has_ended()]
    pids += [child for pid in pids for child in descendants(pid)]
    for pid in pids:
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

  def cut_off(self):
    """Takes the link of the host down; its processes go on."""
    _ip('-n', self.namespace, 'link', 'set', self._link, 'down')


class Network:
  """A host for the commands and two for workers, with a link to each.

  Attributes:
    driver: the host of the commands.
    workers: the other two.
    has_links: whether hosts are separate and can be cut off.
    driver_addresses: the address of the driver for each worker.
    worker_addresses: the address of each worker for the driver.
  """

  def __init__(self):
    self.has_links = can_create_namespaces()
    self._namespaces, self._folders, self.workers = [], [], []
    self.driver_addresses = self.worker_addresses = ['127.0.0.1'] * 2
    if not self.has_links:
      self.driver, self.workers = Host(), [Host(), Host()]
      return
    self.driver_addresses = [f'10.213.{i}.1' for i in range(2)]
    self.worker_addresses = [f'10.213.{i}.2' for i in range(2)]
    prefix = f'mgc{os.getpid()}'
    try:
      self.driver = Host(self._namespace(f'{prefix}d'))
      for i in range(2):
        self.workers.append(self._linked(f'{prefix}w{i}', i))
    except BaseException:
      self.close()
      raise

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
    for end, namespace, address in (
      (ends[0], driver, self.driver_addresses[number]),
      (ends[1], host, self.worker_addresses[number]),
    ):
      _ip('link', 'set', end, 'netns', namespace)
      _ip('-n', namespace, 'addr', 'add', f'{address}/24', 'dev', end)
      _ip('-n', namespace, 'link', 'set', end, 'up')
    return Host(host, ends[1])

  def name_driver(self, name):
    """Lets workers find the driver's host by a name as well."""
    for host, address in zip(self.workers, self.driver_addresses, strict=True):
      folder = pathlib.Path('/etc/netns', host.namespace)
      folder.mkdir(parents=True)
      self._folders.append(folder)
      text = f'127.0.0.1 localhost\n{address} {name}\n'
      (folder / 'hosts').write_text(text)

  def close(self):
    """Kills all hosts."""
    for host in (*self.workers, self.driver):
      host.kill()
    for name in self._namespaces:
      _ip('netns', 'del', name)
    for folder in self._folders:
      shutil.rmtree(folder)


def can_create_namespaces():
  """Returns whether this user may, and this machine can."""
  if os.geteuid() or not shutil.which('ip'):
    return False
  name = f'mgc{os.getpid()}t'
  if subprocess.run(['ip', 'netns', 'add', name], check=False).returncode:
    return False
  _ip('netns', 'del', name)
  return True


def _ip(*words):
  subprocess.run(['ip', *words], check=True)
