"""Decodes the next files in threads while a model classifies one file."""

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Iterator

import threadpoolctl

from mgc_jax.audio.excerpt import Excerpt
from mgc_jax.inference.classifier import Classifier, Prediction
from mgc_jax.system import cores
from mgc_jax.system.errors import DataError

_MAX_EXCERPTS_AHEAD = 8  # for each file; 100 kB each
_POLL_S = 0.1


@contextlib.contextmanager
def ahead(
  model: Classifier, paths: list[str], num_threads: int = 0
) -> Iterator[Iterator[tuple[str, Prediction | DataError]]]:
  """Provides an iterator over files with their predictions or errors.

  Args:
    model: classifies the files.
    paths: audio files; the iterator keeps their order.
    num_threads: the number of decoding threads; 0 for one per core.
  """
  num_threads = num_threads or cores.count()
  stop = threading.Event()
  pool = concurrent.futures.ThreadPoolExecutor(num_threads)
  try:
    # Several files are decoded at a time, so further threads for each of them
    # would only compete for the cores.
    with threadpoolctl.threadpool_limits(1, 'blas'):
      yield _predictions(model, paths, pool, 2 * num_threads, stop)
  finally:
    stop.set()
    pool.shutdown(cancel_futures=True)


def _predictions(
  model: Classifier,
  paths: list[str],
  pool: concurrent.futures.Executor,
  num_ahead: int,
  stop: threading.Event,
) -> Iterator[tuple[str, Prediction | DataError]]:
  pending: list[_Decoding] = []
  for i, path in enumerate(paths):
    while len(pending) < min(num_ahead, len(paths) - i):
      decoding = _Decoding(model, paths[i + len(pending)], stop)
      pool.submit(decoding.run)
      pending.append(decoding)
    decoding = pending.pop(0)
    try:
      yield path, model.predict_excerpts(path, decoding)
    except DataError as error:
      decoding.cancel()
      yield path, error


class _Decoding:
  """The excerpts of one file, decoded in a thread and passed by a queue."""

  def __init__(self, model: Classifier, path: str, stop: threading.Event):
    self._model, self._path, self._stop = model, path, stop
    self._queue: queue.Queue = queue.Queue(_MAX_EXCERPTS_AHEAD)
    self._cancelled = threading.Event()
    self.duration_s, self.warning = 0.0, ''

  def run(self) -> None:
    """Decodes the file; errors are raised in the thread that iterates."""
    try:
      excerpts = self._model.excerpts(self._path)
      for excerpt in excerpts:
        if not self._put(excerpt):
          return
      self._put((excerpts.duration_s, excerpts.warning))
    except Exception as error:
      self._put(error)

  def __iter__(self) -> Iterator[Excerpt]:
    """Yields the excerpts, then sets `duration_s` and `warning`."""
    while isinstance(item := self._take(), Excerpt):
      yield item
    self.duration_s, self.warning = item

  def cancel(self) -> None:
    """Stops the thread, because the remaining excerpts are not needed."""
    self._cancelled.set()

  def _put(self, item: object) -> bool:
    """Queues an item; returns False if the decoding was cancelled."""
    while not (self._stop.is_set() or self._cancelled.is_set()):
      with contextlib.suppress(queue.Full):
        self._queue.put(item, timeout=_POLL_S)
        return True
    return False

  def _take(self) -> Excerpt | tuple[float, str]:
    item = self._queue.get()
    if isinstance(item, Exception):
      raise item
    return item
