import json

from mgc_jax.training.metrics_log import MetricsLog, read_metrics


def test_log_has_each_epoch_once_after_a_crash(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  text = ''.join(json.dumps({'epoch': i, 'x_y': 1.0}) + '\n' for i in range(3))
  path.write_text(text + '{"epoch": 3, "x_')
  log = MetricsLog(path, last_epoch=1)
  log.append({'epoch': 2, 'x_y': 2.0})
  assert [line['epoch'] for line in read_metrics(path)] == [0, 1, 2]


def test_nothing_changes_where_nothing_is_dropped(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"epoch": 0}\n')
  before = path.stat().st_mtime_ns
  MetricsLog(path, last_epoch=0)
  assert path.stat().st_mtime_ns == before
  assert read_metrics(tmp_path / 'none') == []
