"""Scores of windows and tracks, and their confidence intervals.

Everything here is computed in numpy from the logits of all windows. The sums
that training accumulates on the device are in `training.window_sums`. SciPy and
scikit-learn take up to a second to import, so they are imported where they are
used.
"""

from collections.abc import Sequence

import numpy as np

# A track's prediction is uncertain if its probability is lower than this.
UNCERTAIN_UNDER = 0.5
# From here on, the model `tags` was right for nine in ten tracks of a
# collection that was left out of its training (docs/RESULTS.md, "The default
# model").
RELIABLE_FROM = 0.75
MIN_SEEDS = 3  # for an interval over seeds
_NUM_CALIBRATION_BINS = 15


def log_softmax(logits: np.ndarray) -> np.ndarray:
  """Returns the log probabilities over the last axis.

  Args:
    logits: f[..., C], finite.

  Returns:
    f[..., C].
  """
  from scipy import special

  return special.log_softmax(logits, axis=-1)


def track_probabilities(
  logits: np.ndarray,
  mask: np.ndarray,
  track: np.ndarray,
  temperature: float = 1.0,
) -> np.ndarray:
  """Predicts each track by averaging the probabilities of its windows.

  Args:
    logits: f32[E, W, C] of the windows of E excerpts.
    mask: bool[E, W], True where the window is real.
    track: i64[E], the index of each excerpt's track, starting at 0.
    temperature: the logits are divided by it.

  Returns:
    f64[tracks, C]; zeros for a track with no real window.
  """
  probabilities = np.exp(log_softmax(logits / temperature)) * mask[..., None]
  sums = np.zeros((track.max(initial=-1) + 1, logits.shape[-1]))
  count = np.zeros(len(sums))
  np.add.at(sums, track, probabilities.sum(axis=1))
  np.add.at(count, track, mask.sum(axis=1))
  return sums / np.maximum(count, 1)[:, None]


def window_scores(
  logits: np.ndarray, mask: np.ndarray, label: np.ndarray
) -> dict[str, float]:
  """Scores windows, counting each real one once.

  Args:
    logits: f32[E, W, C].
    mask: bool[E, W], True where the window is real.
    label: i64[E], the true genre of each excerpt.

  Returns:
    `loss` (cross entropy, natural logarithm), `window_accuracy`,
    `num_windows`.
  """
  truth = np.broadcast_to(label[:, None], mask.shape)[mask]
  scores = log_softmax(logits[mask])
  return {
    'loss': float(-scores[np.arange(len(truth)), truth].mean()),
    'window_accuracy': float((scores.argmax(axis=1) == truth).mean()),
    'num_windows': len(truth),
  }


def track_scores(
  probabilities: np.ndarray,
  label: np.ndarray,
  genres: tuple[str, ...],
  num_bootstrap: int = 2000,
  seed: int = 0,
) -> dict:
  """Scores tracks, counting each one once.

  Args:
    probabilities: f64[tracks, C].
    label: i64[tracks], the true genre of each track.
    genres: names of the C genres.
    num_bootstrap: number of bootstrap samples for the interval.
    seed: random seed of the bootstrap.

  Returns:
    `num_tracks`, `track_accuracy`, `track_accuracy_ci95` [lo, hi],
    `top3_track_accuracy`, `macro_f1` (over the genres that occur or are
    predicted), `per_genre`, and `confusion_matrix` (rows: true genres).
  """
  confusion = np.zeros((len(genres), len(genres)), int)
  np.add.at(confusion, (label, probabilities.argmax(axis=1)), 1)
  top3 = np.argsort(-probabilities, axis=1)[:, :3]
  return {
    **confusion_scores(confusion, genres, num_bootstrap, seed),
    'top3_track_accuracy': float((top3 == label[:, None]).any(axis=1).mean()),
  }


def confusion_scores(
  confusion: np.ndarray,
  genres: tuple[str, ...],
  num_bootstrap: int = 2000,
  seed: int = 0,
) -> dict:
  """Scores tracks from their confusion matrix.

  Args:
    confusion: i64[C, C], rows: true genres, columns: predicted genres.
    genres: names of the C genres.
    num_bootstrap: number of bootstrap samples for the interval.
    seed: random seed of the bootstrap.

  Returns:
    The same fields as `track_scores`, without `top3_track_accuracy`.
  """
  num_tracks, correct = int(confusion.sum()), int(np.trace(confusion))
  right = np.diagonal(confusion)
  predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
  # Without a track, precision, recall and F1 are 0.
  precision = right / np.maximum(predicted, 1)
  recall = right / np.maximum(support, 1)
  f1 = 2 * right / np.maximum(predicted + support, 1)
  occurring = predicted + support > 0
  return {
    'num_tracks': num_tracks,
    'track_accuracy': correct / num_tracks,
    'track_accuracy_ci95': bootstrap_ci95(
      correct, num_tracks, num_bootstrap, seed
    ),
    'macro_f1': float(f1[occurring].mean()),
    'per_genre': {
      genre: {
        'precision': float(precision[i]),
        'recall': float(recall[i]),
        'f1': float(f1[i]),
        'support': int(support[i]),
      }
      for i, genre in enumerate(genres)
    },
    'confusion_matrix': confusion.tolist(),
  }


def negative_log_likelihood(
  probabilities: np.ndarray, label: np.ndarray
) -> np.ndarray:
  """Returns -log p(true genre) of each track, natural logarithm.

  Args:
    probabilities: f64[tracks, C].
    label: i64[tracks], the true genre of each track.

  Returns:
    f64[tracks], finite.
  """
  chosen = probabilities[np.arange(len(label)), label]
  return -np.log(np.maximum(chosen, 1e-12))


def expected_calibration_error(
  probabilities: np.ndarray,
  label: np.ndarray,
  num_bins: int = _NUM_CALIBRATION_BINS,
) -> float:
  """Returns the mean gap between confidence and accuracy (Guo et al. 2017).

  Args:
    probabilities: f64[tracks, C].
    label: i64[tracks], the true genre of each track.
    num_bins: tracks are binned by the probability of their predicted genre, in
      bins of equal width; the gap of a bin is weighted by its tracks.

  Returns:
    From 0 (perfectly calibrated) to 1.
  """
  confidence = probabilities.max(axis=1)
  correct = probabilities.argmax(axis=1) == label
  bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
  gaps = np.bincount(bins, correct - confidence, num_bins)
  return float(np.abs(gaps).sum() / len(label))


def bootstrap_ci95(
  correct: int, num_tracks: int, num_bootstrap: int, seed: int
) -> list[float]:
  """Returns the 95 % percentile bootstrap interval of an accuracy.

  If n correct or wrong predictions are resampled with replacement, the number
  of correct ones is binomial, so it is drawn directly.

  Args:
    correct: number of correctly predicted tracks.
    num_tracks: number of all tracks, n.
    num_bootstrap: number of bootstrap samples.
    seed: random seed.

  Returns:
    The 2.5 and 97.5 percentiles of the accuracy.
  """
  rng = np.random.default_rng(seed)
  count = rng.binomial(num_tracks, correct / num_tracks, num_bootstrap)
  return _percentiles(count / num_tracks)


def grouped_bootstrap_ci95(
  values: np.ndarray, group: np.ndarray, num_bootstrap: int, seed: int = 0
) -> list[float] | None:
  """Returns the 95 % interval of a mean when whole groups are resampled.

  A model tends to be right or wrong on all tracks of an artist together, so
  the accuracy on other artists is less certain than the accuracy on other
  tracks of these artists (the cluster bootstrap: Davison and Hinkley 1997,
  section 3.8).

  Args:
    values: f64[n] or bool[n], e.g. whether each track is predicted correctly.
    group: [n], the group of each value, e.g. its artist.
    num_bootstrap: number of bootstrap samples; each draws as many whole groups
      as there are.
    seed: random seed.

  Returns:
    The 2.5 and 97.5 percentiles of the mean; None if there is only one group,
    which says nothing about others.
  """
  number = np.unique(group, return_inverse=True)[1]
  sums, counts = np.bincount(number, values), np.bincount(number)
  if len(sums) < 2:
    return None
  rng = np.random.default_rng(seed)
  means = np.empty(num_bootstrap)
  for i in range(num_bootstrap):  # one at a time, which bounds the memory
    drawn = rng.integers(0, len(sums), len(sums))
    means[i] = sums[drawn].sum() / counts[drawn].sum()
  return _percentiles(means)


def _percentiles(values: np.ndarray) -> list[float]:
  return [float(bound) for bound in np.percentile(values, [2.5, 97.5])]


def mean_ci95(values: Sequence[float], low: float, high: float) -> dict:
  """Returns the mean of repeated measurements with its uncertainty.

  Args:
    values: at least one measurement, each from a different random seed.
    low: the lowest possible value, where the interval is cut off.
    high: the highest possible value.

  Returns:
    `mean`; `std`, with n - 1 degrees of freedom; `ci95`, [lo, hi] by Student's
    t distribution. `std` is None if there is only one value, and `ci95` if
    there are fewer than `MIN_SEEDS`: of two values it says next to nothing.
  """
  array = np.asarray(values, np.float64)
  mean, count = float(array.mean()), len(array)
  if count < 2:
    return {'mean': mean, 'std': None, 'ci95': None}
  std = float(array.std(ddof=1))
  if count < MIN_SEEDS:
    return {'mean': mean, 'std': std, 'ci95': None}
  from scipy.special import stdtrit

  half = float(stdtrit(count - 1, 0.975)) * std / np.sqrt(count)
  ci95 = [max(low, mean - half), min(high, mean + half)]
  return {'mean': mean, 'std': std, 'ci95': ci95}
