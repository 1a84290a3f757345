"""Computes the parts of a job on the workers of a Dask cluster.

A part is a few tracks whose results are one file on a disk that all hosts
share. Its name identifies its inputs, so a part that exists is never computed
again, neither when a worker is lost nor when the same command is started again.
"""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

import collections
import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
import pathlib
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from mgc_jax.cluster import part_file
from mgc_jax.cluster.attempts import Attempts
from mgc_jax.system import cores
from mgc_jax.system.errors import ConfigError, DataError

if TYPE_CHECKING:
  import distributed

_logger = logging.getLogger(__name__)

_MEAN_PART_SIZE = 32  # at most; a part has up to twice as many tracks
_MANY_PARTS = 64
_MAX_PARTS_AHEAD = 512  # submitted before the first one has been used
_MAX_SUBMISSIONS = 10  # of a part whose workers are killed
_RETRIES = 3  # of a part that raises an error, perhaps on another host
_CONNECT_TIMEOUT_S = 30
# On which results depend, in addition to this package's own code.
_PACKAGES = ('numpy', 'scipy', 'soundfile', 'soxr')

Compute = Callable[..., dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Part:
  """Some of a job's items, and the file for their results.

  Attributes:
    path: the file; its name depends on everything that its results depend on.
    items: what they are depends on the job; picklable.
  """

  path: pathlib.Path
  items: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Job:
  """What all parts of a job have in common.

  Attributes:
    compute: a picklable function of a part, its `Attempts` and `arguments`,
      which returns the arrays for its file.
    arguments: picklable.
    title: one word for Dask's dashboard.
  """

  compute: Compute
  arguments: tuple[Any, ...]
  title: str


def groups(items: Sequence[Any]) -> list[tuple[Any, ...]]:
  """Divides items into parts, which are small if there are few items.

  A part ends after an item whose hash says so. So if items at the start are
  missing the next time, because they are finished, the other parts are the same
  as before.

  Args:
    items: what their `repr` is must not depend on the process.
  """
  size = min(_MEAN_PART_SIZE, -(-len(items) // _MANY_PARTS))
  found: list[tuple[Any, ...]] = []
  group: list[Any] = []
  for item in items:
    group.append(item)
    digest = hashlib.sha256(ascii(item).encode()).digest()
    is_end = int.from_bytes(digest[:4], 'little') % size == 0
    if is_end or len(group) == 2 * size:
      found.append(tuple(group))
      group = []
  return [*found, tuple(group)] if group else found


def computed(
  scheduler: str, job: Job, parts: Sequence[Part]
) -> Generator[tuple[Part, dict[str, np.ndarray]], None, None]:
  """Yields all parts in order with their results.

  Parts that exist are not computed. A part whose worker is lost is computed by
  another one.

  Args:
    scheduler: the address of Dask's scheduler, such as `tcp://host:8786`.
    job: what is computed.
    parts: the parts; their folder must exist.

  Raises:
    ConfigError: Dask is not installed, or the scheduler cannot be reached.
    DataError: a part fails on several workers, or the scheduler is lost.
  """
  missing = [part for part in parts if not part.path.exists()]
  if len(missing) < len(parts):
    _logger.info('%d of %d parts exist', len(parts) - len(missing), len(parts))
  with contextlib.ExitStack() as stack:
    # An open connection is not needed if nothing is missing.
    client = functools.cache(lambda: stack.enter_context(_client(scheduler)))
    pending: collections.deque[_Pending] = collections.deque()
    for part in parts:
      pending.append(_Pending(client, job, part))
      if len(pending) >= _MAX_PARTS_AHEAD:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()


@contextlib.contextmanager
def _client(address: str) -> Iterator['distributed.Client']:
  try:
    import distributed
  except ImportError as error:
    raise ConfigError(
      "--scheduler: needs Dask: pip install 'mgc_jax[cluster]'"
    ) from error
  # A lost worker is not worth a message, as its parts are computed again.
  logging.getLogger('distributed').setLevel(logging.ERROR)
  try:
    client = distributed.Client(
      address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False
    )
  except (OSError, ValueError, TimeoutError) as error:
    raise ConfigError(
      f'--scheduler={address}: cannot be reached; start it with launch/dask.sh'
    ) from error
  with client:
    if not client.nthreads():
      _logger.warning('%s has no workers yet; waiting for them', address)
    yield client


class _Pending:
  """A part that was submitted, unless its file exists."""

  def __init__(
    self, client: Callable[[], 'distributed.Client'], job: Job, part: Part
  ):
    self._client, self._job, self._part = client, job, part
    self._future = None if part.path.exists() else self._submit()

  def _submit(self) -> 'distributed.Future':
    # Not pure: with the same key, Dask would return an earlier failure.
    return self._client().submit(
      _make,
      self._job,
      self._part,
      code_version(),
      key=f'{self._job.title}-{self._part.path.stem}-{os.urandom(4).hex()}',
      retries=_RETRIES,
      pure=False,
    )

  def result(self) -> tuple[Part, dict[str, np.ndarray]]:
    """Waits for the part and reads its file."""
    for _ in range(_MAX_SUBMISSIONS):
      if self._future is None or self._is_done():
        try:
          return self._part, part_file.read(self._part.path)
        except DataError as error:
          _logger.warning('%s; it is computed again', error)
          self._part.path.unlink(missing_ok=True)
      self._future = self._submit()
    raise DataError(
      f'{self._part.path}: cannot be computed: its workers are killed, or its '
      'file is damaged each time'
    )

  def _is_done(self) -> bool:
    """Returns False if the part must be submitted again."""
    import distributed

    assert self._future is not None  # see `result`
    try:
      # Waits, without a connection to the worker as `result` makes.
      error: Any = self._future.exception()
      if error:
        raise error
    except distributed.KilledWorker:
      # Also raised for parts that only waited on those workers.
      _logger.warning('%s: its workers were killed', self._part.path.stem)
      return False
    except (ConfigError, DataError):
      raise
    except Exception as error:  # of the task, or of the connection
      reason = ' '.join(str(error).split())[:200] or type(error).__name__
      raise DataError(
        f'{self._job.title}: {reason}; run this again to continue with the '
        'missing parts'
      ) from error
    return True


def _make(job: Job, part: Part, version: str) -> None:
  """Runs in a worker: writes the file of a part, unless it exists."""
  host = socket.gethostname()
  if version != code_version():
    raise ConfigError(
      f'{host}: a worker has another version of mgc_jax, numpy, scipy, '
      'soundfile or soxr than this command; install the same on all hosts'
    )
  if not part.path.parent.is_dir():
    raise DataError(
      f'{part.path.parent}: does not exist on {host}; it must be on a disk '
      'that all hosts share'
    )
  # Dask computes a part again whose worker was lost after it had written it.
  if part.path.exists():
    return
  cores.use_one_blas_thread()  # the host has a worker for each core
  attempts = Attempts(part.path)
  arrays = job.compute(part, attempts, *job.arguments)
  part_file.write(part.path, arrays)
  attempts.end()


@functools.cache
def code_version() -> str:
  """Returns a hash of the code, and of the packages that results depend on."""
  digest = hashlib.sha256()
  for name in _PACKAGES:
    digest.update(f'{name} {metadata.version(name)}\n'.encode())
  package = pathlib.Path(__file__).parents[1]
  for path in sorted(package.rglob('*.py')):
    digest.update(hashlib.sha256(path.read_bytes()).digest())
  return digest.hexdigest()
