import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics

from mgc_jax.evaluation import metrics
from mgc_jax.training.window_sums import WindowSums

GENRES = ('blues', 'jazz', 'pop', 'rock')


def test_window_sums_are_divided_after_merging():
  one = WindowSums(*map(jnp.float32, (6.0, 1.0, 2.0)))
  two = WindowSums(*map(jnp.float32, (1.0, 5.0, 8.0)))
  found = WindowSums.of([]).merge(one).merge(two).compute()
  assert found == {'loss': pytest.approx(0.7), 'window_accuracy': 0.6}
  assert all(type(value) is float for value in found.values())


@pytest.fixture
def scored():
  rng = np.random.default_rng(0)
  label = rng.integers(0, 3, 200)  # rock never occurs
  probabilities = rng.dirichlet(np.ones(4), 200)
  probabilities[np.arange(200), label] += 0.3
  return probabilities / probabilities.sum(1, keepdims=True), label


def test_track_scores_equal_scikit_learn(scored):
  probabilities, label = scored
  predicted = probabilities.argmax(1)
  found = metrics.track_scores(probabilities, label, GENRES)
  sk = sklearn.metrics
  assert found['track_accuracy'] == sk.accuracy_score(label, predicted)
  assert found['macro_f1'] == pytest.approx(
    sk.f1_score(label, predicted, average='macro')
  )
  assert found['top3_track_accuracy'] == sk.top_k_accuracy_score(
    label, probabilities, k=3, labels=range(4)
  )
  wanted = sk.confusion_matrix(label, predicted, labels=range(4))
  assert found['confusion_matrix'] == wanted.tolist()
  precision, recall, f1, support = sk.precision_recall_fscore_support(
    label, predicted, labels=range(4), zero_division=0
  )
  for i, genre in enumerate(GENRES):
    row = found['per_genre'][genre]
    assert row['precision'] == pytest.approx(precision[i])
    assert row['recall'] == pytest.approx(recall[i])
    assert row['f1'] == pytest.approx(f1[i])
    assert row['support'] == support[i]


def test_confusion_matrix_rows_are_true_genres():
  probabilities = np.eye(4)[[2, 2, 2]]
  found = metrics.track_scores(probabilities, np.array([0, 0, 0]), GENRES)
  assert found['confusion_matrix'][0] == [0, 0, 3, 0]


def test_interval_contains_accuracy_and_narrows_with_more_tracks():
  few = metrics.bootstrap_ci95(30, 40, 2000, 0)
  many = metrics.bootstrap_ci95(3000, 4000, 2000, 0)
  assert few[0] < 0.75 < few[1] and many[0] < 0.75 < many[1]
  # The normal approximation: 1.96 sqrt(p (1 - p) / n) on either side.
  assert many[1] - many[0] == pytest.approx(0.0268, rel=0.1)
  assert few[1] - few[0] > 5 * (many[1] - many[0])


def test_binomial_interval_equals_resampling_tracks():
  correct = np.arange(60) % 4 > 0
  rng = np.random.default_rng(1)
  means = [correct[rng.integers(0, 60, 60)].mean() for _ in range(4000)]
  wanted = np.percentile(means, [2.5, 97.5])
  found = metrics.bootstrap_ci95(45, 60, 4000, 0)
  np.testing.assert_allclose(found, wanted, atol=0.02)


def test_grouped_interval_treats_a_group_as_one_observation():
  """20 artists, each all right or all wrong, are as uncertain as 20 tracks."""
  correct = np.repeat(np.arange(20) % 4 > 0, 10)
  artist = np.repeat(np.arange(20), 10).astype(str)
  by_artist = metrics.grouped_bootstrap_ci95(correct, artist, 4000)
  np.testing.assert_allclose(
    by_artist, metrics.bootstrap_ci95(15, 20, 4000, 0), atol=0.051
  )
  by_track = metrics.grouped_bootstrap_ci95(correct, np.arange(200), 4000)
  np.testing.assert_allclose(
    by_track, metrics.bootstrap_ci95(150, 200, 4000, 0), atol=0.006
  )


def test_track_prediction_averages_all_real_windows():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(3, 2, 4)).astype(np.float32)
  mask = np.array([[True, True], [True, False], [True, True]])
  track = np.array([1, 0, 1])  # track 1 has two excerpts
  found = metrics.track_probabilities(logits, mask, track)
  soft = scipy.special.softmax(logits, axis=-1)
  np.testing.assert_allclose(found[0], soft[1, 0], rtol=1e-5)
  wanted = (soft[0].sum(0) + soft[2].sum(0)) / 4
  np.testing.assert_allclose(found[1], wanted, rtol=1e-5)
  np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-5)


def test_higher_temperature_flattens_probabilities():
  logits = np.array([[[2.0, 0.0, 0.0, 0.0]]])
  one, two = (
    metrics.track_probabilities(logits, np.ones((1, 1), bool), np.array([0]), t)
    for t in (1.0, 4.0)
  )
  assert one[0, 0] > two[0, 0] > 0.25


def test_window_scores_ignore_padding():
  logits = np.zeros((2, 2, 4))
  logits[:, :, 1] = 5.0
  mask = np.array([[True, True], [True, False]])
  found = metrics.window_scores(logits, mask, np.array([1, 0]))
  assert found['num_windows'] == 3
  assert found['window_accuracy'] == pytest.approx(2 / 3)
  wanted = sklearn.metrics.log_loss(
    [1, 1, 0], scipy.special.softmax(logits[mask], axis=-1), labels=range(4)
  )
  assert found['loss'] == pytest.approx(wanted)


def test_negative_log_likelihood_equals_scikit_learn(scored):
  probabilities, label = scored
  found = metrics.negative_log_likelihood(probabilities, label)
  assert found.shape == (200,)
  wanted = sklearn.metrics.log_loss(label, probabilities, labels=range(4))
  assert found.mean() == pytest.approx(wanted)


def test_negative_log_likelihood_is_finite_at_probability_zero():
  found = metrics.negative_log_likelihood(np.eye(2), np.array([1, 1]))
  assert np.isfinite(found).all() and found[0] > 20 > found[1] == 0


def test_calibration_error_is_the_mean_gap_of_the_bins():
  probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
  label = np.array([0, 1, 1, 1])
  # Confidence 0.9 with accuracy 0.5, and confidence 0.6 with accuracy 1.
  found = metrics.expected_calibration_error(probabilities, label)
  assert found == pytest.approx(0.4)
  perfect = np.eye(2)[label]
  assert metrics.expected_calibration_error(perfect, label) == 0.0


def test_interval_over_seeds_equals_student_t():
  values = [0.61, 0.64, 0.6, 0.66]
  found = metrics.mean_ci95(values, 0.0, 1.0)
  wanted = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
  assert found['mean'] == pytest.approx(np.mean(values))
  assert found['std'] == pytest.approx(np.std(values, ddof=1))
  assert found['ci95'] == pytest.approx([wanted.low, wanted.high])
  one = metrics.mean_ci95([0.5], 0.0, 1.0)
  assert one == {'mean': 0.5, 'std': None, 'ci95': None}
