"""How far a model's probabilities can be believed, and the mending of that.

One number, the temperature, divides all logits (Guo et al. 2017, "On
calibration of modern neural networks"). It is fitted on tracks that the model,
or its siblings of a cross-validation, have not been trained on.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from mgc_jax.evaluation.predictions import Predictions

_NUM_BINS = 15
_MAX_TEMPERATURE = 20.0


def expected_calibration_error(
  probabilities: np.ndarray, label: np.ndarray, num_bins: int = _NUM_BINS
) -> float:
  """Returns the mean gap of confidence and accuracy (Guo et al. 2017).

  Args:
    probabilities: f64[tracks, C].
    label: i64[tracks].
    num_bins: tracks are binned by the probability of their answer, in bins of
      equal width; each bin's gap weighs as much as it has tracks.

  Returns:
    From 0, probabilities that hold what they promise, to 1.
  """
  confidence = probabilities.max(axis=1)
  right = probabilities.argmax(axis=1) == label
  bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
  gaps = np.bincount(bins, right - confidence, num_bins)
  return float(np.abs(gaps).sum() / len(label))


def negative_log_likelihood(
  probabilities: np.ndarray, label: np.ndarray
) -> float:
  """Returns the mean of -log p(genre), natural logarithm.

  Args:
    probabilities: f64[tracks, C].
    label: i64[tracks].
  """
  chosen = probabilities[np.arange(len(label)), label]
  return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def calibration(predictions: Predictions, temperature: float) -> dict:
  """Returns what a temperature does to the probabilities of tracks.

  Args:
    predictions: of a model, raw.
    temperature: the logits are divided by it.

  Returns:
    `temperature`, and `before` and `after` it, each with
    `expected_calibration_error` and `negative_log_likelihood`.
  """
  return {
    'temperature': temperature,
    'before': _scores([predictions], [1.0]),
    'after': _scores([predictions], [temperature]),
  }


def cross_calibration(folds: list[Predictions]) -> dict:
  """Returns what temperature scaling is worth on tracks that are new to it.

  Args:
    folds: at least two; of each fold's model, in its test split.

  Returns:
    As `calibration`. `temperature` is fitted on all folds, for a model trained
    on all tracks; for `after` each fold's is fitted on the other folds.
  """
  others = [folds[:k] + folds[k + 1 :] for k in range(len(folds))]
  return {
    'temperature': fit_temperature(folds),
    'before': _scores(folds, [1.0] * len(folds)),
    'after': _scores(folds, [fit_temperature(rest) for rest in others]),
  }


def fit_temperature(parts: list[Predictions]) -> float:
  """Returns the temperature at which the tracks' genres are likeliest.

  Args:
    parts: of tracks that the model they are of was not trained on.

  Returns:
    Between 1/20 and 20.
  """

  def loss(log_temperature: float) -> float:
    temperatures = [float(np.exp(log_temperature))] * len(parts)
    return _scores(parts, temperatures)['negative_log_likelihood']

  bound = np.log(_MAX_TEMPERATURE)
  found = minimize_scalar(loss, bounds=(-bound, bound), method='bounded')
  return float(np.exp(found.x))


def _scores(parts: list[Predictions], temperatures: list[float]) -> dict:
  """Scores the tracks of all parts, each part at its own temperature."""
  probabilities = np.concatenate(
    [
      part.track_probabilities(temperature)
      for part, temperature in zip(parts, temperatures, strict=True)
    ]
  )
  label = np.concatenate([part.track_label() for part in parts])
  return {
    'expected_calibration_error': expected_calibration_error(
      probabilities, label
    ),
    'negative_log_likelihood': negative_log_likelihood(probabilities, label),
  }
