import json

import numpy as np
import pytest

from mgc_jax.config.flags import load_config
from mgc_jax.evaluation import plots, predictions
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.experiments.leakage import table
from mgc_jax.experiments.leakage.plan import NETWORKS, PROTOCOLS, plan_runs
from mgc_jax.experiments.sweep.plan import Run
from mgc_jax.system.errors import ConfigError
from tests.commands import run_command, train_here
from tests.processes import ROOT


def _plan(tmp_path, networks=NETWORKS, overrides=(), artist_split='given'):
  return plan_runs(networks, [0, 3], overrides, tmp_path, 0.3, artist_split)


def _config(run):
  return load_config(f'{ROOT}/configs/{run.row}.py', run.overrides)


def test_protocols_of_a_network_differ_only_in_the_split(tmp_path):
  planned = _plan(tmp_path)
  assert len(planned) == 18
  folders = {run.workdir for runs in planned.values() for run in runs}
  assert len(folders) == 36
  for network in NETWORKS:
    configs = [_config(planned[network, p][1]) for p in PROTOCOLS]
    assert [c.data.protocol for c in configs] == ['window', 'track', 'given']
    for config in configs:
      assert config.seed == config.data.split_seed == 3
      assert config.data.examples == 'window'
      config.data.protocol = None
    assert configs[0] == configs[1] == configs[2]


def test_networks_differ_in_model_but_not_in_windows(tmp_path):
  planned = _plan(tmp_path)
  baseline, ours = (
    _config(planned[n, 'track'][0]) for n in ('baseline/cnn', 'cnn')
  )
  assert baseline.model.cnn.padding == 'SAME'
  assert baseline.model.cnn.pool_bands[-1] == 2
  assert baseline.model != ours.model
  baseline.windows.standardise = ours.windows.standardise  # is set by recipes
  assert baseline.windows == ours.windows


def test_overrides_take_precedence_in_all_runs(tmp_path):
  overrides = ['--config.train.num_epochs=2']
  for runs in _plan(tmp_path, overrides=overrides).values():
    assert _config(runs[0]).train.num_epochs == 2


def test_wrong_usage_is_reported(tmp_path):
  with pytest.raises(
    ConfigError, match='--networks=vit: must be among baseline/cnn'
  ):
    _plan(tmp_path, networks=['cnn', 'vit'])
  with pytest.raises(ConfigError, match='--config.seed: needs a value'):
    _plan(tmp_path, overrides=['--config.seed'])
  with pytest.raises(ConfigError, match='data.protocol=track: is set by the'):
    _plan(tmp_path, overrides=['--config.data.protocol=track'])
  with pytest.raises(ConfigError, match='--networks: needs at least one'):
    _plan(tmp_path, networks=['cnn', 'cnn'])


def _write_run(folder, correct):
  """Writes a run of which `correct` says whether each track is predicted."""
  folder.mkdir()
  logits = np.zeros((len(correct), 1, 2), np.float32)
  logits[np.arange(len(correct)), 0, 1 - np.array(correct)] = 1.0
  names = [f't{i}' for i in range(len(correct))]
  predictions.write(
    Predictions(
      logits,
      np.ones((len(correct), 1), bool),
      np.zeros(len(correct), int),
      np.array(names),
      ('jazz', 'rock'),
    ),
    folder,
    1.0,
  )
  result = {
    'track_accuracy': float(np.mean(correct)),
    'window_accuracy': 0.5,
    'num_params': 1234,
    'num_tracks': len(correct),
  }
  (folder / 'results.json').write_text(json.dumps(result))


def test_mean_is_over_seeds_and_interval_over_tracks(tmp_path):
  # One seed is always correct and the other never, so tracks do not differ.
  for seed, correct in enumerate(([1] * 50, [0] * 50)):
    _write_run(tmp_path / str(seed), correct)
  runs = [Run('cnn', seed, (), tmp_path / str(seed)) for seed in range(2)]
  row = table.summarise('cnn', 'track', runs)
  assert row['track_accuracy']['mean'] == 0.5
  assert row['track_accuracy']['std'] == pytest.approx(0.5**0.5)
  assert row['track_accuracy']['ci95'] == [0.5, 0.5]
  # Both seeds are correct on the same half of the tracks: binomial.
  for seed in range(2, 4):
    _write_run(tmp_path / str(seed), [1, 0] * 50)
  runs = [Run('cnn', seed, (), tmp_path / str(seed)) for seed in range(2, 4)]
  row = table.summarise('cnn', 'track', runs)
  assert row['track_accuracy']['std'] == 0
  assert row['track_accuracy']['ci95'] == pytest.approx([0.4, 0.6], abs=0.021)


def test_interval_of_a_single_track_is_its_accuracy(tmp_path):
  _write_run(tmp_path / 'run', [1])
  row = table.summarise('cnn', 'track', [Run('cnn', 0, (), tmp_path / 'run')])
  assert row['track_accuracy']['ci95'] == [1, 1]


def test_plot_and_table_have_every_network_and_protocol(tmp_path):
  _write_run(tmp_path / 'run', [1, 0, 1, 1])
  runs = [Run('cnn', 0, (), tmp_path / 'run')]
  rows = [
    table.summarise(network, protocol, runs)
    for network in NETWORKS
    for protocol in PROTOCOLS
  ]
  lines = table.markdown(rows).splitlines()
  assert len(lines) == 2 + len(NETWORKS)
  assert lines[2].count('75.0%') == 3 and '1,234' in lines[2]
  plots.plot_leakage(rows, tmp_path / 'leakage.png')
  assert (tmp_path / 'leakage.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.slow
def test_command_trains_each_run_once(tmp_path, monkeypatch):
  """The second time, it trains nothing."""
  train_here(monkeypatch)
  small = {
    'train.num_epochs': 1,
    'data.synthetic.num_artists': 4,
    'data.synthetic.tracks_per_artist': 1,
    'data.synthetic.duration_s': 6.0,
    'data.prepared_dir': tmp_path / 'prepared',
    'data.num_workers': 1,
    'windows.num_frames': 40,
    'windows.hop_frames': 18,
    'model.lstm.hidden_size': 8,
    'model.dense.sizes': '(8,)',
    'model.dense.dropout': '(0.0,)',
  }
  words = ['--networks=lstm', '--seeds=0']
  words += [f'--configs={ROOT}/configs', f'--workdir={tmp_path}/study']
  words += [f'--config.{name}={value}' for name, value in small.items()]
  for attempt in range(2):
    done = run_command('mgc_jax', 'leakage', *words)
    assert done.returncode == 0, done.stderr
    assert ('run 1 of 3' in done.stderr) == (attempt == 0)
    assert '| lstm ' in done.stdout
  rows = json.loads((tmp_path / 'study' / 'leakage.json').read_text())['rows']
  assert [row['protocol'] for row in rows] == list(PROTOCOLS)
  found = {path.name for path in (tmp_path / 'study').iterdir()}
  assert {'leakage.md', 'leakage.png', 'lstm-window-seed0'} <= found
