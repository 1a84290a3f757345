"""A Dask cluster whose hosts can be killed or cut off."""

import os

from tests.hosts import Network

_PORT = 8786
# How soon a silent host counts as lost.
_QUICK = {
  'DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP': '13s',  # the least that works
  'DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL': '6s',
}


class Cluster:
  """A scheduler and two workers on the hosts of a network.

  Attributes:
    driver: the host of the scheduler and of the commands.
    workers: the hosts of the workers.
    scheduler: its process.
    address: that of the scheduler, for commands on its host.
    has_links: whether hosts can be cut off.
  """

  def __init__(self, **env):
    """Starts it; the variables are added to the environment of workers."""
    self._network = Network()
    self.driver, self.workers = self._network.driver, self._network.workers
    self.has_links = self._network.has_links
    port = _PORT if self.has_links else _PORT + 1 + os.getpid() % 20000
    self.address = f'tcp://127.0.0.1:{port}'
    try:
      self._start(port, env)
    except BaseException:
      self.close()
      raise

  def _start(self, port, env):
    flags = (f'--port={port}', '--no-dashboard')
    self.scheduler = self.driver.start(
      'distributed.cli.dask_scheduler', *flags, **_QUICK
    )
    _wait_for(self.scheduler, 'Scheduler at')
    started = [
      host.start(
        'distributed.cli.dask_worker',
        f'tcp://{address}:{port}',
        '--nthreads=1',
        '--no-dashboard',
        **_QUICK,
        **env,
      )
      for host, address in zip(
        self.workers, self._network.driver_addresses, strict=True
      )
    ]
    for process in started:
      _wait_for(process, 'Registered to')

  def close(self):
    """Kills all of it."""
    self._network.close()


def _wait_for(process, text):
  process.wait_for(lambda: text in process.output)
  assert not process.has_ended(), process.output
