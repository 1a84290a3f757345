"""Estimates how long a training run still takes."""

import time

from tqdm import tqdm


class RunClock:
  """The time that the steps of a run have taken, evaluations included."""

  def __init__(self, num_steps: int):
    """Starts with the first steps that are done, because they are compiled.

    Args:
      num_steps: those of the whole run.
    """
    self._num_steps = num_steps
    self._first: tuple[float, int] | None = None

  @property
  def is_new(self) -> bool:
    """Returns whether no steps have been done since it was made."""
    return self._first is None

  def after(self, done: int) -> str:
    """Returns what to show in the progress bar.

    Args:
      done: the steps of the run that are done, also by earlier processes.
    """
    now = time.monotonic()
    if self._first is None:
      self._first = now, done
      return ''
    start_s, start = self._first
    seconds = (now - start_s) / (done - start) * (self._num_steps - done)
    return f'{tqdm.format_interval(seconds)} left in all'
