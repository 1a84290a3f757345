"""One function over many tracks, by several processes, in order."""

import concurrent.futures
import contextlib
import logging
import multiprocessing
import multiprocessing.spawn
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)

_NUM_SUSPECTS = 8  # named where a process was killed


def map_tracks(
  function: Callable[..., Any],
  tracks: list[Track],
  arguments: tuple,
  num_workers: int,
  title: str,
) -> Iterator[tuple[Track, Any]]:
  """Yields each track with what a function returns for it, in order.

  Args:
    function: of a module, called with a track and the arguments.
    tracks: in order.
    arguments: the same for all.
    num_workers: processes; 0: one per core; of one, this process. It is this
      process, too, where Python cannot be started again.
    title: of the bar that shows how far it is.

  Raises:
    DataError: a process was killed; names the tracks that it may have had.
  """
  num_workers = num_workers or num_cores()
  if num_workers > 1 and not _can_start_python():
    _logger.info('this user may not start %s; one process', sys.executable)
    num_workers = 1
  bar = tqdm(total=len(tracks), desc=title, unit='track', disable=None)
  with bar, _executor(min(num_workers, len(tracks))) as submit:
    ahead: list[tuple[Track, Callable]] = []
    for track in tracks:
      with _naming_suspects(ahead, track):
        ahead.append((track, submit(function, track, *arguments)))
      # A bounded queue: results wait in memory until they are taken.
      if len(ahead) > 4 * num_workers:
        yield _next(ahead, bar)
    while ahead:
      yield _next(ahead, bar)


def num_cores() -> int:
  """Returns the cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):  # Linux
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _can_start_python() -> bool:
  """Returns whether this user may start the interpreter that is running.

  A container may start it as root, from a folder that is closed to the user to
  whom it then changes.
  """
  return os.access(multiprocessing.spawn.get_executable() or '', os.X_OK)


def _next(ahead: list, bar: tqdm) -> tuple[Track, Any]:
  with _naming_suspects(ahead):
    outcome = ahead[0][1]()
  bar.update()
  return ahead.pop(0)[0], outcome


@contextlib.contextmanager
def _naming_suspects(ahead: list, *more: Track) -> Iterator[None]:
  """Says whose decoding may have killed a process, where one was."""
  try:
    yield
  except concurrent.futures.process.BrokenProcessPool as error:
    suspects = [*(track for track, _ in ahead), *more][:_NUM_SUSPECTS]
    named = ', '.join(printable(t.path) for t in suspects)
    raise DataError(
      f'a process that decodes was killed, by one of: {named}; move it away, '
      'or set --config.data.num_workers=1 to see which'
    ) from error


@contextlib.contextmanager
def _executor(num_workers: int) -> Iterator[Callable]:
  """Yields submit(function, *args), which returns a call for the result."""
  if num_workers <= 1:
    yield lambda function, *args: lambda: function(*args)
    return
  # Fresh processes: a fork would copy the locks of JAX's and TF's threads.
  # One BLAS thread each: they would only wait for one another.
  os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
  context = multiprocessing.get_context('spawn')
  pool = concurrent.futures.ProcessPoolExecutor(
    num_workers, context, initializer=_end_with_parent
  )
  try:
    yield lambda function, *args: pool.submit(function, *args).result
  finally:
    pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
  """Ends this worker process when its parent is killed; it would wait on."""

  def watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is no main process
    parent.join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
