"""Measures; a track's answer in one function.

In numpy, from the logits of all windows; what training adds up on the device
is in `window_sums`.
"""

from collections.abc import Sequence

import numpy as np

UNCERTAIN_UNDER = 0.5  # a track's answer, by its probability


def log_softmax(logits: np.ndarray) -> np.ndarray:
  """Returns f[..., C] log probabilities, over the last axis.

  Args:
    logits: f[..., C], finite.
  """
  shifted = logits - logits.max(axis=-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def track_probabilities(
  logits: np.ndarray,
  mask: np.ndarray,
  track: np.ndarray,
  temperature: float = 1.0,
) -> np.ndarray:
  """The answer for each track: its windows' probabilities, averaged.

  Args:
    logits: f32[E, W, C] of the windows of E excerpts.
    mask: bool[E, W], True where the window is real.
    track: i64[E], number of each excerpt's track, from 0 on.
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
  """Scores windows, each counted once.

  Args:
    logits: f32[E, W, C].
    mask: bool[E, W], True where the window is real.
    label: i64[E].

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
  """Scores tracks, each counted once.

  Args:
    probabilities: f64[tracks, C].
    label: i64[tracks].
    genres: names of the C genres.
    num_bootstrap: resamplings of the tracks for the interval.
    seed: of the resampling.

  Returns:
    `num_tracks`, `track_accuracy`, `track_accuracy_ci95` [lo, hi],
    `top3_track_accuracy`, `macro_f1` (over genres that occur or are
    answered), `per_genre`, and `confusion_matrix` (rows: true genres).
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
  """Scores tracks by their confusion matrix.

  Args:
    confusion: i64[C, C], rows: true genres, columns: answers.
    genres: names of the C genres.
    num_bootstrap: resamplings of the tracks for the interval.
    seed: of the resampling.

  Returns:
    What `track_scores` does but for `top3_track_accuracy`.
  """
  num_tracks, correct = int(confusion.sum()), int(np.trace(confusion))
  per_genre = _per_genre(confusion, genres)
  occurring = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
  f1 = np.array([per_genre[genre]['f1'] for genre in genres])
  return {
    'num_tracks': num_tracks,
    'track_accuracy': correct / num_tracks,
    'track_accuracy_ci95': bootstrap_ci95(
      correct, num_tracks, num_bootstrap, seed
    ),
    'macro_f1': float(f1[occurring].mean()),
    'per_genre': per_genre,
    'confusion_matrix': confusion.tolist(),
  }


def bootstrap_ci95(
  correct: int, num_tracks: int, num_bootstrap: int, seed: int
) -> list[float]:
  """Returns the percentile bootstrap's 95 % interval of an accuracy.

  Resampling n right or wrong answers with replacement gives a number of right
  ones that is binomial, so that is drawn directly.

  Args:
    correct: tracks answered right.
    num_tracks: n.
    num_bootstrap: resamplings.
    seed: of the resampling.

  Returns:
    The 2.5 and 97.5 percentiles of the accuracy.
  """
  rng = np.random.default_rng(seed)
  count = rng.binomial(num_tracks, correct / num_tracks, num_bootstrap)
  bounds = np.percentile(count / num_tracks, [2.5, 97.5])
  return [float(bound) for bound in bounds]


def grouped_bootstrap_ci95(
  values: np.ndarray, group: np.ndarray, num_bootstrap: int, seed: int = 0
) -> list[float] | None:
  """Returns the interval of a mean over tracks whose groups are drawn.

  Tracks of one artist are answered right or wrong together, so what other
  artists would give is less sure than what other tracks of these would (the
  cluster bootstrap: Davison and Hinkley 1997, section 3.8).

  Args:
    values: f64[tracks], or bool.
    group: str[tracks], of each its artist.
    num_bootstrap: resamplings; each draws as many groups as there are, whole.
    seed: of the resampling.

  Returns:
    The 2.5 and 97.5 percentiles of the mean; None of one group, which says
    nothing of others.
  """
  number = np.unique(group, return_inverse=True)[1]
  sums, counts = np.bincount(number, values), np.bincount(number)
  if len(sums) < 2:
    return None
  rng = np.random.default_rng(seed)
  means = np.empty(num_bootstrap)
  for i in range(num_bootstrap):  # not all at once: memory stays flat
    drawn = rng.integers(0, len(sums), len(sums))
    means[i] = sums[drawn].sum() / counts[drawn].sum()
  return [float(bound) for bound in np.percentile(means, [2.5, 97.5])]


def _per_genre(confusion: np.ndarray, genres: tuple[str, ...]) -> dict:
  """Returns precision, recall, F1 and support; 0 where undefined."""
  result = {}
  for i, genre in enumerate(genres):
    hits, support = int(confusion[i, i]), int(confusion[i].sum())
    answered = int(confusion[:, i].sum())
    result[genre] = {
      'precision': hits / answered if answered else 0.0,
      'recall': hits / support if support else 0.0,
      'f1': 2 * hits / (answered + support) if answered + support else 0.0,
      'support': support,
    }
  return result


def mean_ci95(values: Sequence[float]) -> dict:
  """Returns the mean of repeated measurements and how sure it is.

  Args:
    values: at least one, each of its own seed.

  Returns:
    `mean`; `std`, with n - 1 degrees of freedom; `ci95`, [lo, hi] by Student's
    t distribution. The latter two are None for one value.
  """
  array = np.asarray(values, np.float64)
  mean, count = float(array.mean()), len(array)
  if count < 2:
    return {'mean': mean, 'std': None, 'ci95': None}
  from scipy.special import stdtrit  # a third of a second; only here

  std = float(array.std(ddof=1))
  half = float(stdtrit(count - 1, 0.975)) * std / np.sqrt(count)
  return {'mean': mean, 'std': std, 'ci95': [mean - half, mean + half]}
