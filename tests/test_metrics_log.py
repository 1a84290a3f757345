import json
import sys

import pytest

from mgc_jax.config.schema import base_config
from mgc_jax.system.errors import ConfigError
from mgc_jax.training.metrics_log import (
  MetricsLog,
  TensorBoardLog,
  check_tensorboard,
  read_metrics,
)

LIBRARIES = ('tensorboardX', 'tensorboard.summary')


@pytest.mark.parametrize('start', [1, 0], ids=['', 'of an older version'])
def test_log_has_each_epoch_once_after_a_crash(start, tmp_path):
  path = tmp_path / 'metrics.jsonl'
  rows = [{'epoch': start + i, 'x_y': 1.0} for i in range(3)]
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  path.write_text(text + '{"epoch": 4, "x_')
  log = MetricsLog(path, epochs_done=2)
  log.append({'epoch': 3, 'x_y': 2.0})
  found = [(line['epoch'], line['x_y']) for line in read_metrics(path)]
  assert found == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_a_log_with_nothing_to_drop_is_not_rewritten(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"epoch": 1}\n')
  before = path.stat().st_mtime_ns
  MetricsLog(path, epochs_done=1)
  assert path.stat().st_mtime_ns == before
  assert read_metrics(tmp_path / 'none') == []


@pytest.mark.parametrize('library', LIBRARIES)
def test_every_metric_is_written_for_tensorboard(
  library, tmp_path, monkeypatch
):
  pytest.importorskip(library)
  for other in set(LIBRARIES) - {library}:
    monkeypatch.setitem(sys.modules, other, None)
  log = TensorBoardLog(tmp_path / 'tensorboard')
  assert not (tmp_path / 'tensorboard').exists()
  log.append({'epoch': 0, 'step': 30, 'train_loss': 2.5, 'grad_norm': 0.5})
  log.close()
  (path,) = (tmp_path / 'tensorboard').iterdir()
  written = path.read_bytes()
  assert b'train_loss' in written and b'grad_norm' in written
  assert b'epoch' not in written


def test_a_missing_tensorboard_library_is_reported(monkeypatch):
  for library in LIBRARIES:
    monkeypatch.setitem(sys.modules, library, None)
  train = base_config().train
  check_tensorboard(train)  # unused
  train.tensorboard = True
  with pytest.raises(ConfigError, match='train.tensorboard=True.*pip install'):
    check_tensorboard(train)
