"""Decoding files ahead for a model that fails."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np

from mgc_jax.inference import jax_export
from tests.conftest import write_tone
from tests.processes import ROOT, environment

CODE = """
import sys
import mgc_jax
from mgc_jax.inference import prefetch

model, paths = mgc_jax.load(sys.argv[1]), sys.argv[2:]
with prefetch.ahead(model, paths, num_threads=1) as predictions:
  for path, result in predictions:
    print(path, result)
"""


def test_a_file_whose_prediction_fails_blocks_no_thread(bundle, tmp_path):
  """Each file has more excerpts than the queue holds, and none are taken."""
  broken = jax.tree.map(lambda x: np.full_like(x, np.nan), bundle.variables)
  model = tmp_path / 'model.mgc'
  broken = dataclasses.replace(bundle, variables=broken)
  model.write_bytes(jax_export.of_bundle(broken))
  paths = [write_tone(tmp_path / f'{i}.wav', 60.0) for i in range(3)]
  done = subprocess.run(
    [sys.executable, '-c', CODE, model, *paths],
    capture_output=True,
    text=True,
    check=True,
    cwd=ROOT,
    env=environment(),
    timeout=120,
  )
  problem = 'the model outputs are empty or not finite'
  assert done.stdout.splitlines() == [f'{path} {problem}' for path in paths]
