"""Measures and corrects the calibration of a model's probabilities.

One number, the temperature, divides all logits (Guo et al. 2017, "On
calibration of modern neural networks"). It is fitted on tracks that were not
used to train the model: those of another split, or the test tracks of all folds
of a cross-validation with the same settings.
"""

import numpy as np

from mgc_jax.evaluation import metrics
from mgc_jax.evaluation.predictions import Predictions

_MAX_TEMPERATURE = 20.0


def calibration(predictions: Predictions, temperature: float) -> dict:
  """Scores the probabilities of tracks with and without a temperature.

  Args:
    predictions: the uncalibrated predictions of a model.
    temperature: the logits are divided by it.

  Returns:
    `temperature`, and the scores `before` and `after` it is applied, each with
    `expected_calibration_error` and `negative_log_likelihood`.
  """
  return {
    'temperature': temperature,
    'before': _scores([predictions], [1.0]),
    'after': _scores([predictions], [temperature]),
  }


def cross_calibration(folds: list[Predictions]) -> dict:
  """Scores temperature scaling on tracks that the temperature has not seen.

  Args:
    folds: at least two; the predictions of each fold's model on its test split.

  Returns:
    The same fields as `calibration`. `temperature` is fitted on all folds, for
    a model trained on all tracks. For `after`, each fold is scored at the
    temperature that is fitted on the other folds.
  """
  others = [folds[:k] + folds[k + 1 :] for k in range(len(folds))]
  return {
    'temperature': fit_temperature(folds),
    'before': _scores(folds, [1.0] * len(folds)),
    'after': _scores(folds, [fit_temperature(rest) for rest in others]),
  }


def fit_temperature(parts: list[Predictions]) -> float:
  """Returns the temperature that maximises the likelihood of the true genres.

  Args:
    parts: predictions on tracks that the respective model was not trained on.

  Returns:
    Between 1/20 and 20.
  """
  from scipy.optimize import minimize_scalar

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
  losses = metrics.negative_log_likelihood(probabilities, label)
  return {
    'expected_calibration_error': metrics.expected_calibration_error(
      probabilities, label
    ),
    'negative_log_likelihood': float(losses.mean()),
  }
