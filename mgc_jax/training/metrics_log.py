"""The metrics of a training run: a JSON line per epoch, and TensorBoard."""

import importlib
import json
import logging
import os
import pathlib
from collections.abc import Callable
from typing import Any

from mgc_jax.config.schema import TrainConfig
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import ConfigError

_logger = logging.getLogger(__name__)

METRICS_FILE = 'metrics.jsonl'
TENSORBOARD_FOLDER = 'tensorboard'
# The first is small; the second imports tensorflow where that is installed.
_TENSORBOARD_WRITERS = (
  ('tensorboardX', 'SummaryWriter'),
  ('tensorboard.summary', 'Writer'),
)


class MetricsLog:
  """Writes a JSON line per epoch, each epoch exactly once."""

  def __init__(self, path: pathlib.Path, epochs_done: int):
    """Drops the lines of epochs that are trained again.

    Args:
      path: `metrics.jsonl`; made if it is missing.
      epochs_done: according to the checkpoint, which is written after the line.
    """
    self._path = path
    kept = [line for line in read_metrics(path) if line['epoch'] <= epochs_done]
    text = ''.join(json.dumps(line) + '\n' for line in kept)
    if not path.exists() or path.read_text() != text:
      with atomic_file.writing(path) as partial:
        partial.write_text(text)

  def append(self, line: dict[str, Any]) -> None:
    """Adds an epoch's line, and shows its metrics.

    Args:
      line: `epoch` (from 1), `step`, and the metrics.
    """
    with self._path.open('a') as file:
      file.write(json.dumps(line) + '\n')
      file.flush()
      os.fsync(file.fileno())  # the checkpoint that follows relies on it
    shown = {'epoch': line['epoch']}
    shown.update({k: f'{v:.3g}' for k, v in line.items() if '_' in k})
    _logger.info(' '.join(f'{name}={value}' for name, value in shown.items()))


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the lines of `metrics.jsonl`, without a half-written last one.

  Older versions counted epochs from 0; all are returned from 1 on.
  """
  if not path.exists():
    return []
  lines = []
  for text in path.read_text().splitlines():
    try:
      lines.append(json.loads(text))
    except ValueError:
      break
  shift = 1 if lines and lines[0]['epoch'] == 0 else 0
  return [{**line, 'epoch': line['epoch'] + shift} for line in lines]


class TensorBoardLog:
  """Writes the same metrics for TensorBoard, over the training step.

  The files of a run that was killed may lack its last epochs, or have an epoch
  twice, with the same values. `metrics.jsonl` is always complete.
  """

  def __init__(self, folder: pathlib.Path):
    """Finds the library; no file is written before the first line.

    Args:
      folder: of the event files.

    Raises:
      ConfigError: no library that writes them is installed.
    """
    self._folder, self._make = str(folder), _tensorboard_writer()
    self._writer = None

  def append(self, line: dict[str, Any]) -> None:
    """Adds an epoch's metrics.

    Args:
      line: as `MetricsLog.append` takes it.
    """
    if self._writer is None:
      self._writer = self._make(self._folder)
    for name, value in line.items():
      if name not in ('epoch', 'step'):
        self._writer.add_scalar(name, value, line['step'])
    self._writer.flush()

  def close(self) -> None:
    """Closes the file."""
    if self._writer is not None:
      self._writer.close()


def check_tensorboard(train: TrainConfig) -> None:
  """Checks that a library for `config.train.tensorboard` is installed.

  Args:
    train: `config.train`.

  Raises:
    ConfigError: none is; says what to install.
  """
  if train.tensorboard:
    _tensorboard_writer()


def _tensorboard_writer() -> Callable[[str], Any]:
  """Returns the event file writer of the first library that is installed."""
  for module, name in _TENSORBOARD_WRITERS:
    try:
      return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
      continue
  raise ConfigError(
    'config.train.tensorboard=True: no library that writes TensorBoard files '
    'is installed; run `pip install tensorboardX` (or `tensorboard`), or set '
    'config.train.tensorboard=False'
  )
