import json

import jax
import numpy as np
import safetensors.numpy

from mgc_jax.models import bundle as bundles
from mgc_jax.models import create_model
from tests import small_models


def test_a_saved_bundle_is_loaded_unchanged(bundle, tmp_path):
  bundles.save(bundle, tmp_path / 'b')
  found = bundles.load(tmp_path / 'b')
  assert found.genres == tuple('abcdefghij') and found.temperature == 1.5
  assert found.info == {'seed': 3}
  assert found.num_params == bundle.num_params > 100
  for section in ('features', 'windows', 'model'):
    assert getattr(found.config, section) == getattr(bundle.config, section)
  np.testing.assert_array_equal(found.band_mean, bundle.band_mean)
  model = create_model(found.config)
  windows = jax.random.normal(jax.random.key(2), (2, 3, 32, 20))
  np.testing.assert_array_equal(
    small_models.apply(model, found.variables, windows),
    small_models.apply(model, bundle.variables, windows),
  )


def test_newer_weights_replace_older_ones(bundle, tmp_path):
  bundles.save(bundle, tmp_path)
  first = bundles.digest(tmp_path)
  bundle.band_mean[0] = 9.0
  bundles.save(bundle, tmp_path)
  assert bundles.digest(tmp_path) != first
  assert len(list(tmp_path.glob('*'))) == 2
  assert bundles.load(tmp_path).band_mean[0] == 9.0


def test_nothing_in_a_bundle_is_pickled(bundle, tmp_path):
  bundles.save(bundle, tmp_path)
  (weights,) = tmp_path.glob('weights-*.safetensors')
  assert all(
    x.dtype == np.float32 for x in safetensors.numpy.load_file(weights).values()
  )
  json.loads((tmp_path / 'bundle.json').read_text())
