import numpy as np
import pytest

from mgc_jax.evaluation.calibration import (
  calibration,
  cross_calibration,
  fit_temperature,
)
from mgc_jax.evaluation.metrics import negative_log_likelihood
from mgc_jax.evaluation.predictions import Predictions


def _predictions(temperature, num_tracks=4000, seed=0):
  """Tracks whose genres are drawn from the softmax of logits / temperature."""
  rng = np.random.default_rng(seed)
  logits = rng.normal(0, 4, (num_tracks, 1, 3)).astype(np.float32)
  noise = rng.gumbel(size=(num_tracks, 3))
  label = (logits[:, 0] / temperature + noise).argmax(axis=1)
  track_id = np.array([f't{i:05d}' for i in range(num_tracks)])
  mask = np.ones((num_tracks, 1), bool)
  return Predictions(logits, mask, label, track_id, ('x', 'y', 'z'))


@pytest.mark.parametrize('temperature', [0.5, 1.0, 3.0])
def test_fit_recovers_the_temperature_of_the_data(temperature):
  found = fit_temperature([_predictions(temperature)])
  assert found == pytest.approx(temperature, rel=0.1)


def test_probabilities_are_calibrated_at_the_right_temperature_only():
  found = calibration(_predictions(3.0), 3.0)
  assert found['before']['expected_calibration_error'] > 0.15
  assert found['after']['expected_calibration_error'] < 0.03
  before, after = (
    found[k]['negative_log_likelihood'] for k in found if k[0] in 'ba'
  )
  assert after < before - 0.1


def test_each_fold_is_scored_at_the_temperature_of_the_other_folds():
  # The best temperature of one fold is 0.5, that of the other is 3.
  folds = [_predictions(0.5), _predictions(3.0, seed=1)]
  found = cross_calibration(folds)
  crossed = negative_log_likelihood(
    np.concatenate(
      [
        folds[0].track_probabilities(fit_temperature(folds[1:])),
        folds[1].track_probabilities(fit_temperature(folds[:1])),
      ]
    ),
    np.concatenate([fold.track_label() for fold in folds]),
  )
  loss = found['after']['negative_log_likelihood']
  assert loss == pytest.approx(crossed.mean())
  assert found['temperature'] == fit_temperature(folds)
