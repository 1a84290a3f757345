"""Writes the files of a training run, in one of its processes."""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from mgc_jax.config import versions
from mgc_jax.config.schema import Config
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.splits import Examples
from mgc_jax.distributed.mesh import is_writer
from mgc_jax.evaluation import report
from mgc_jax.models import bundle as bundles
from mgc_jax.training import trained_on
from mgc_jax.training.metrics_log import (
  METRICS_FILE,
  TENSORBOARD_FOLDER,
  MetricsLog,
  TensorBoardLog,
)

CONFIG_FILE = 'config.json'
BUNDLE_FOLDER = 'bundle'
_P = ParamSpec('_P')


def _if_active(
  method: Callable[Concatenate['RunWriter', _P], None],
) -> Callable[Concatenate['RunWriter', _P], None]:
  """Makes a method do nothing in the processes that do not write."""

  @functools.wraps(method)
  def wrapped(self: 'RunWriter', *args: _P.args, **kwargs: _P.kwargs) -> None:
    if self.is_active:
      method(self, *args, **kwargs)

  return wrapped


class RunWriter:
  """Writes a run's files and prints; does nothing in all but one process.

  Callers in every process call it identically; they need not check the process
  index. It does not write checkpoints, because every process saves its part of
  those (see `checkpoint.Checkpoints`).
  """

  def __init__(self, workdir: pathlib.Path):
    """Decides whether this process writes.

    Args:
      workdir: the run's folder.
    """
    self.workdir = workdir
    self.is_active = is_writer()
    self._metrics: MetricsLog | None = None
    self._tensorboard: TensorBoardLog | None = None

  @_if_active
  def start(
    self,
    config: Config,
    index: ExcerptIndex,
    examples: Examples,
    epochs_done: int,
  ) -> None:
    """Opens the logs, and records what the run is.

    Args:
      config: the whole configuration, with the data's number of genres.
      index: the index of the excerpts.
      examples: the training split.
      epochs_done: the metrics of later epochs are dropped.

    Raises:
      ConfigError: the library for `config.train.tensorboard` is missing.
    """
    if config.train.tensorboard:
      self._tensorboard = TensorBoardLog(self.workdir / TENSORBOARD_FOLDER)
    self._metrics = MetricsLog(self.workdir / METRICS_FILE, epochs_done)
    if _num_epochs(self.workdir / CONFIG_FILE) != config.train.num_epochs:
      version = {versions.VERSION_FIELD: versions.FORMAT_VERSION}
      settings = {**version, **config.to_dict()}
      report.write_json(self.workdir / CONFIG_FILE, settings)
    if not (self.workdir / trained_on.FILE).exists():
      trained_on.write(self.workdir, index, examples)

  @_if_active
  def metrics(self, line: dict[str, Any]) -> None:
    """Adds the metrics of an epoch to the logs, which `start` has opened."""
    assert self._metrics is not None
    self._metrics.append(line)
    if self._tensorboard is not None:
      self._tensorboard.append(line)

  @_if_active
  def bundle(self, bundle: bundles.Bundle) -> None:
    """Replaces the run's bundle."""
    bundles.save(bundle, self.workdir / BUNDLE_FOLDER)

  @_if_active
  def once(
    self, function: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs
  ) -> None:
    """Calls a function that writes or prints something else."""
    function(*args, **kwargs)

  def close(self) -> None:
    """Closes what `start` has opened."""
    if self._tensorboard is not None:
      self._tensorboard.close()


def _num_epochs(path: pathlib.Path) -> int | None:
  """Returns the number of epochs in the settings of a run; None if new."""
  if not path.exists():
    return None
  return json.loads(path.read_text(encoding='utf-8'))['train']['num_epochs']
