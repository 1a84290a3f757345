"""Benchmarks run at toy size to detect breakage; figures mean nothing here.

These are slow tests, except for what a benchmark counts and rejects, which is
in tests/test_benchmarks.py.
"""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from benchmarks import encoder, pictures
from benchmarks.peers.jax_variants import ABLATIONS
from mgc_jax.inference.onnx_model import runtimes
from tests.commands import run_command
from tests.conftest import write_tone
from tests.processes import ROOT, environment, run_python

pytestmark = pytest.mark.slow
EXPORTED = list(filter(runtimes.is_installed, runtimes.RUNTIMES))
needs_torch = pytest.mark.skipif(
  importlib.util.find_spec('torch') is None, reason="install '.[bench]'"
)


def _run(*args):
  return subprocess.run(
    [sys.executable, '-m', *map(str, args)],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
    env=environment(),
  )


def _figures(tmp_path, module, *args, run=run_command):
  """Runs one in this process, or by `_run` where it measures its own."""
  done = run(f'benchmarks.{module}', f'--json={tmp_path / "f.json"}', *args)
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'f.json').read_text())
  where = found['environment']
  assert where['cores'] >= 1 and where['processor']
  assert where['versions']['jax'] in done.stdout
  if module in pictures.PICTURES and '--ablation' not in args:
    assert pictures.PICTURES[module](found).axes
  return found


@needs_torch
def test_step_is_compared_with_the_peers(tmp_path):
  found = _figures(tmp_path, 'step', '--toy')['networks']['baseline/crnn']
  for by_allocator in found.values():
    exported = len(EXPORTED)  # only compared in inference
    for what, count in (('train', 5), ('infer', 5 + exported)):
      speeds = by_allocator[what]['windows_per_s']
      assert len(speeds) == count
      assert all(x['min'] > 0 for x in speeds.values())
      fastest = by_allocator[what]['fastest']
      ratio = speeds['jax/default']['median'] / speeds[fastest]['median']
      assert by_allocator[what]['ratio'][fastest]['median'] == ratio


@needs_torch
def test_peers_compute_the_same():
  """All frameworks in one process, which saves most of their imports."""
  code = (
    'import os, sys\n'
    "os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'\n"
    'from benchmarks.step import check_same\n'
    'from benchmarks.worker import LocalWorker\n'
    "peers = 'jax/default', 'torch/eager', 'keras/default'\n"
    'for network in sys.argv[1:]:\n'
    '  workers = {x: LocalWorker(network, x, True) for x in peers}\n'
    '  check_same(network, workers)\n'
    "others = {'jax/default': LocalWorker('crnn', 'jax/default', True)}\n"
    "other = LocalWorker('baseline/crnn', 'torch/eager', True)\n"
    "others['torch/eager'] = other\n"
    'try:\n'
    "  check_same('crnn', others)\n"
    'except RuntimeError as error:\n'
    '  print(error)'
  )
  networks = ('baseline/cnn', 'baseline/lstm', 'cnn', 'lstm', 'crnn')
  output = run_python(code, *networks)
  assert re.fullmatch(
    r'crnn: torch/eager has \d+ parameters, ours \d+', output.strip()
  )


def test_ablation_compares_variants(tmp_path):
  args = ('--toy', '--ablation', '--networks=lstm')
  found = _figures(tmp_path, 'step', *args)['networks']['lstm']
  assert set(found['as they come']['train']['ratio']) == {
    f'jax/{name}' for name in ABLATIONS[-2:]
  }


def test_ablations_change_the_program():
  """In processes of their own: a variant changes the modules for good.

  They are forked after the imports, when JAX has no threads yet.
  """
  code = (
    'import os, sys, numpy as np\n'
    'from benchmarks.networks import batch_shape, network_config\n'
    'from benchmarks.peers.jax_peer import JaxPeer\n'
    "config = network_config('baseline/crnn', True)\n"
    'shape = batch_shape(config)\n'
    'for variant in sys.argv[1:]:\n'
    '  if not os.fork(): break\n'
    '  if os.wait()[1]: sys.exit(variant)\n'
    'else: sys.exit()\n'
    'peer = JaxPeer(config, shape, variant)\n'
    'placed = peer.place(np.ones(shape, np.float32), np.zeros(4, np.int64))\n'
    "text = peer.program(placed, 'train')\n"
    "kinds = ('convolution', 'while', 'fusion', 'dot', 'concatenate')\n"
    "print(variant, *(text.count(f' {kind}(') for kind in kinds))"
  )
  programs = {}
  for line in run_python(code, 'default', *ABLATIONS).splitlines():
    variant, *counts = line.split()
    programs[variant] = tuple(map(int, counts))
  assert programs.keys() == {'default', *ABLATIONS}
  default = programs.pop('default')
  assert default[0] == 0 < programs['matrix_products'][0]
  assert programs['inputs_computed_once'][1] < default[1]
  assert programs.pop('kept_memory') == default
  assert default not in programs.values()


def test_convolution_reports_times_and_ratios(tmp_path):
  (found,) = _figures(tmp_path, 'convolution', '--toy')['layers'].values()
  assert found['both']['ratio']['ours']['median'] == 1
  assert found['both']['ms']['ours']['median'] > 0


def test_input_pipeline_reports_speed_and_host_share(tmp_path):
  found = _figures(tmp_path, 'input_pipeline', '--toy')
  assert found['pipeline_windows_per_s'] > 0
  assert 0 < found['models']['crnn']['host_share']['resident']['median'] < 1


def test_startup_uses_a_filled_cache(tmp_path):
  figures = _figures(tmp_path, 'startup', '--toy')
  assert figures['help']['python']['ratio']['median'] == 1
  assert all(x['seconds']['median'] > 0 for x in figures['help'].values())
  found = figures['networks']['crnn']
  assert found['seconds']['filled']['median'] > 0.5
  assert found['cache_hits']['filled'] > found['cache_hits']['empty'] == 0


def test_profile_attributes_operations_to_layers(tmp_path):
  found = _figures(tmp_path, 'profile', '--toy', '--network=crnn')
  rows = found['operations']
  assert any(
    row['origin'].startswith('backward') and 'WindowLstm_0' in row['origin']
    for row in rows
  )
  assert rows[0]['ms'] >= rows[-1]['ms'] > 0


def test_preparation_reports_tracks_and_memory(tmp_path):
  for i in range(6):
    path = tmp_path / ('jazz', 'rock')[i % 2] / f'{i}.mp3'
    write_tone(path, 3.0, 22050, frequency_hz=300.0 + 40 * i)
  args = (f'--root={tmp_path}', '--toy')
  found = _figures(tmp_path, 'preparation', *args, run=_run)
  assert found['num_tracks'] == 6
  assert 0 < found['peak_gib'] < 2


def test_training_is_compared_with_keras(tmp_path):
  found = _figures(tmp_path, 'training', '--toy')
  assert found['ratio']['min'] > 0
  for its in found['ends'].values():
    assert [end['epochs'] for end in its] == [1]


def test_preparation_stages_agree_with_librosa(tmp_path):
  found = _figures(tmp_path, 'preparation_stages', '--toy')
  assert found['num_tracks'] == 8
  assert found['mean_error_db']['librosa'] < 0.01
  assert found['tracks_per_s']['decode'] > found['tracks_per_s']['mgc_jax'] > 0


def test_growth_measures_every_command(tmp_path):
  found = _figures(tmp_path, 'growth', '--toy')['commands']
  assert set(found) == {'prepare', 'train one epoch', 'predict', 'index'}
  assert all(len(its['seconds']) == 2 for its in found.values())


def test_a_cluster_is_compared_with_local_processes(tmp_path):
  pytest.importorskip('distributed')
  found = _figures(tmp_path, 'cluster', '--toy', run=_run)
  assert set(found['tracks_per_s']) == {'1', '2'}
  assert found['part_s'] > 0 and len(found['driver_mib']) == 3


def test_prediction_time_is_measured_by_stage(tmp_path):
  found = _figures(tmp_path, 'answering', '--toy', '--model=cnn')
  found = found['engines']['jax']
  assert all(x['min'] > 0 for x in found['stages_s'].values())
  assert found['command_s']['min'] > 0
  assert all(x['real_time_factor']['min'] > 0 for x in found['folder'].values())


def test_neighbours_reports_a_high_recall(tmp_path):
  found = _figures(tmp_path, 'neighbours', '--toy')['sizes']['300']
  assert found['recall'] > 0.9 and found['ratio']['min'] > 0


def test_similarity_reports_precision_and_chance(tmp_path):
  found = _figures(tmp_path, 'similarity', '--toy')['models']
  for who in found['cnn'].values():
    assert who['chance'] <= 1 and 0 <= who['precision_at_10'] <= 1


def test_collection_cost_follows_from_the_speed(tmp_path):
  ways = _figures(tmp_path, 'collection_cost', '--toy')['ways']
  middle, everything = ways['clips of 30 s'], ways['all of whole tracks']
  assert everything['fma_full_gib'] >= middle['fma_full_gib'] > 0
  for row in ways.values():
    assert row['fma_full_core_hours'] == pytest.approx(
      106_574 / row['tracks_per_s'] / 3600
    )


def test_accelerator_measures_ceilings_networks_and_epochs(tmp_path):
  found = _figures(tmp_path, 'accelerator', '--toy', '--no_compile')
  assert found['ceilings']['float32_flops'] > found['ceilings']['bytes'] > 0
  assert set(found['networks']) == {'crnn float32 4', 'crnn bfloat16 4'}
  assert set(found['encoder']) == {'2'}
  epoch = found['epochs']['baseline/crnn float32']
  assert 0 < epoch['host_share'] < 1


@needs_torch
def test_encoder_is_compared_with_pytorch(tmp_path):
  found = _figures(tmp_path, 'encoder', '--toy')['batch_sizes']['2']
  assert set(found['ratio']) == {
    'jax/published',
    'torch/eager/pruned',
    'torch/eager/published',
    *(f'{name}/pruned' for name in EXPORTED),
  }
  assert found['windows_per_s']['jax/pruned']['min'] > 0


def test_encoder_that_differs_from_pytorch_is_not_measured(monkeypatch):
  monkeypatch.setattr(encoder, '_TOLERANCE', {'cpu': 0.0})
  with pytest.raises(ValueError, match='features differ by'):
    encoder.compare(2, False, 1, 0.01)


def test_all_continues_after_a_failure(tmp_path):
  file = tmp_path / 'file'
  file.mkdir()
  (file / 'neighbours.json').mkdir()  # in the way of its figures
  done = _run(
    'benchmarks', '--toy', '--only=neighbours,convolution', f'--to={file}'
  )
  assert done.returncode == 1
  assert 'failed: neighbours' in done.stderr
  assert json.loads((file / 'convolution.json').read_text())['layers']
