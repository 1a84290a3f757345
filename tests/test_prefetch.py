"""Files that are decoded ahead, and models that have no answer to them."""

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
with prefetch.ahead(model, paths, num_threads=1) as answers:
  for path, answer in answers:
    print(path, answer)
"""


def test_a_file_without_an_answer_keeps_no_thread(bundle, tmp_path):
  """Files of more excerpts than wait in the queue, and nobody takes them."""
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
  answers = done.stdout.splitlines()
  assert answers == [f'{path} the model has no answer to it' for path in paths]
