"""Decodes some files ahead, in threads, while a model answers for one."""

import concurrent.futures
import contextlib
import os
import queue
import threading
from collections.abc import Iterator

from mgc_jax.inference.classifier import Classifier, Excerpt, Prediction
from mgc_jax.system.errors import DataError

_MAX_EXCERPTS_AHEAD = 8  # of a file: 100 kB each
_POLL_S = 0.1


@contextlib.contextmanager
def ahead(
  model: Classifier, paths: list[str], num_threads: int = 0
) -> Iterator[Iterator[tuple[str, Prediction | DataError]]]:
  """Yields what yields each file with its answer, or with why it has none.

  Args:
    model: that answers.
    paths: of audio files; answers come in their order.
    num_threads: that decode; 0: one per core.
  """
  num_threads = num_threads or os.cpu_count() or 1
  stop = threading.Event()
  pool = concurrent.futures.ThreadPoolExecutor(num_threads)
  try:
    yield _answers(model, paths, pool, 2 * num_threads, stop)
  finally:
    stop.set()
    pool.shutdown(cancel_futures=True)


def _answers(
  model: Classifier,
  paths: list[str],
  pool: concurrent.futures.Executor,
  num_ahead: int,
  stop: threading.Event,
) -> Iterator[tuple[str, Prediction | DataError]]:
  begun: list[_Decoding] = []
  for i, path in enumerate(paths):
    while len(begun) < min(num_ahead, len(paths) - i):
      decoding = _Decoding(model, paths[i + len(begun)], stop)
      pool.submit(decoding.run)
      begun.append(decoding)
    decoding = begun.pop(0)
    try:
      yield path, model.answer(path, decoding)
    except DataError as error:
      decoding.give_up()
      yield path, error


class _Decoding:
  """The excerpts of one file, on their way through a thread and a queue."""

  def __init__(self, model: Classifier, path: str, stop: threading.Event):
    self._model, self._path, self._stop = model, path, stop
    self._queue: queue.Queue = queue.Queue(_MAX_EXCERPTS_AHEAD)
    self._given_up = threading.Event()
    self.duration_s, self.warning = 0.0, ''

  def run(self) -> None:
    """Decodes; what goes wrong is raised where the excerpts are taken."""
    try:
      excerpts = self._model.excerpts(self._path)
      for excerpt in excerpts:
        if not self._put(excerpt):
          return
      self._put((excerpts.duration_s, excerpts.warning))
    except Exception as error:
      self._put(error)

  def __iter__(self) -> Iterator[Excerpt]:
    """Yields the excerpts; then length and warning are known."""
    while isinstance(item := self._take(), Excerpt):
      yield item
    self.duration_s, self.warning = item

  def give_up(self) -> None:
    """Ends the thread's work: nobody takes the rest."""
    self._given_up.set()

  def _put(self, item: object) -> bool:
    """Returns whether there is still somebody who takes it."""
    while not (self._stop.is_set() or self._given_up.is_set()):
      with contextlib.suppress(queue.Full):
        self._queue.put(item, timeout=_POLL_S)
        return True
    return False

  def _take(self) -> Excerpt | tuple[float, str]:
    item = self._queue.get()
    if isinstance(item, Exception):
      raise item
    return item
