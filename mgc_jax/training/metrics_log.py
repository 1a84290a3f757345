"""The log of a training run: a JSON line per epoch."""

import json
import logging
import os
import pathlib
from typing import Any

from mgc_jax.distributed.mesh import is_writer
from mgc_jax.system import atomic_file

_logger = logging.getLogger(__name__)


class MetricsLog:
  """A JSON line per epoch, each epoch exactly once; of one process."""

  def __init__(self, path: pathlib.Path, last_epoch: int):
    """Opens the log; lines after `last_epoch` are dropped."""
    self._path = path
    if not is_writer():
      return
    kept = [line for line in read_metrics(path) if line['epoch'] <= last_epoch]
    text = ''.join(json.dumps(line) + '\n' for line in kept)
    if not path.exists() or path.read_text() != text:
      with atomic_file.writing(path) as partial:
        partial.write_text(text)

  def append(self, line: dict[str, Any]) -> None:
    """Adds an epoch's line and logs it."""
    if not is_writer():
      return
    with self._path.open('a') as file:
      file.write(json.dumps(line) + '\n')
      file.flush()
      os.fsync(file.fileno())  # the checkpoint that follows counts on it
    shown = {'epoch': line['epoch'] + 1}
    shown.update({k: f'{v:.3g}' for k, v in line.items() if '_' in k})
    _logger.info(' '.join(f'{name}={value}' for name, value in shown.items()))


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the lines of `metrics.jsonl`; a half-written last one is left."""
  if not path.exists():
    return []
  lines = []
  for text in path.read_text().splitlines():
    try:
      lines.append(json.loads(text))
    except ValueError:
      break
  return lines
