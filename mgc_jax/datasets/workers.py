"""Maps a function over tracks with several processes, in order."""

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
from mgc_jax.system import cores
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)

_NUM_SUSPECTS = 8  # tracks that the message names if a process was killed


def map_tracks(
  function: Callable[..., Any],
  tracks: list[Track],
  arguments: tuple,
  num_workers: int,
  title: str,
) -> Iterator[tuple[Track, Any]]:
  """Yields each track and the result of a function for it, in order.

  Args:
    function: a picklable function, called with a track and `arguments`.
    tracks: the tracks, in the order in which they are yielded.
    arguments: the other arguments, the same for all tracks.
    num_workers: the number of processes; 0 for one per core. If it is 1, or if
      Python cannot be started again, no process is started.
    title: the title of the progress bar.

  Raises:
    DataError: a process was killed; names the tracks that may have caused it.
  """
  num_workers = num_workers or cores.count()
  if num_workers > 1 and not _can_start_python():
    _logger.info(
      'this user may not start %s; using one process', sys.executable
    )
    num_workers = 1
  bar = tqdm(total=len(tracks), desc=title, unit='track', disable=None)
  with bar, _executor(min(num_workers, len(tracks))) as submit:
    pending: list[tuple[Track, Callable]] = []
    for track in tracks:
      with _naming_suspects(pending, track):
        pending.append((track, submit(function, track, *arguments)))
      # Bound the queue, because results are held in memory until they are used.
      if len(pending) > 4 * num_workers:
        yield _next(pending, bar)
    while pending:
      yield _next(pending, bar)


def _can_start_python() -> bool:
  """Returns whether this user may execute the running interpreter.

  A container may start it as root, from a folder that is not accessible to the
  user to which it then switches.
  """
  return os.access(multiprocessing.spawn.get_executable() or '', os.X_OK)


def _next(pending: list, bar: tqdm) -> tuple[Track, Any]:
  """Waits for the first pending result and removes it."""
  with _naming_suspects(pending):
    outcome = pending[0][1]()
  bar.update()
  return pending.pop(0)[0], outcome


@contextlib.contextmanager
def _naming_suspects(pending: list, *more: Track) -> Iterator[None]:
  """If a worker was killed, raises an error with the tracks it may have had."""
  try:
    yield
  except concurrent.futures.process.BrokenProcessPool as error:
    suspects = [*(track for track, _ in pending), *more][:_NUM_SUSPECTS]
    named = ', '.join(printable(t.path) for t in suspects)
    raise DataError(
      f'a worker process was killed while decoding one of: {named}; remove '
      'that file, or set --config.data.num_workers=1 to see which it is'
    ) from error


@contextlib.contextmanager
def _executor(num_workers: int) -> Iterator[Callable]:
  """Yields submit(function, *args), which returns a getter of the result."""
  if num_workers <= 1:
    yield lambda function, *args: lambda: function(*args)
    return
  # Spawn processes, because a fork would copy the locks of JAX's and TF's
  # threads. One BLAS thread each, because more would compete for the cores.
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
  """Ends this worker when its parent is killed; otherwise it would wait."""

  def watch() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker process
    parent.join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
