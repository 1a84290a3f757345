import dataclasses
import functools

import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import Examples
from mgc_jax.distributed.mesh import data_mesh
from mgc_jax.evaluation.evaluate import (
  make_forward,
  predict_examples,
  score,
  source_scores,
  window_logits,
)
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.models import create_model
from mgc_jax.models.windows import grid_size
from tests import small_models
from tests.conftest import write_tone


@pytest.fixture
def evaluation(folder_config, music_folder):
  """A model, and excerpts of different lengths, some of one long track."""
  config = folder_config
  config.features.excerpts = 'all'
  config.model.num_genres = 2
  write_tone(music_folder / 'rock' / 'long.wav', seconds=7.2)
  write_tone(music_folder / 'jazz' / 'short.wav', seconds=1.1)
  index = prepare(config).index
  rows = np.arange(len(index))
  examples = Examples(rows, np.zeros_like(rows), index.num_frames)
  model, variables = small_models.initialise(config)
  mean, std = index.band_stats(rows)
  windows = Config.from_dict(config).windows
  forward = make_forward(model, windows, data_mesh())
  bound = functools.partial(forward, variables, mean, std)
  return config, index, examples, bound


@pytest.mark.parametrize('batch_size', [1, 4, 100])
def test_every_window_and_track_is_counted_exactly_once(evaluation, batch_size):
  config, index, examples, forward = evaluation
  config.eval.batch_size = batch_size
  reader, mesh = Reader(index), data_mesh()
  found = score(predict_examples(forward, reader, examples, config.eval, mesh))
  length, hop = config.windows.num_frames, config.windows.hop_frames
  windows = [grid_size(int(n), length, hop) for n in index.num_frames]
  assert len(index) == 16 and len(set(windows)) > 2
  assert found['num_windows'] == sum(windows)
  assert found['num_tracks'] == 14
  config.eval.batch_size = 3
  other = score(predict_examples(forward, reader, examples, config.eval, mesh))
  assert other['loss'] == pytest.approx(found['loss'], rel=1e-5)
  assert other['confusion_matrix'] == found['confusion_matrix']


def test_logits_are_in_the_order_of_the_examples(evaluation):
  _, index, examples, forward = evaluation
  mesh, order = data_mesh(), np.arange(len(examples))
  reader = Reader(index)
  logits, mask = window_logits(
    forward, reader.batches(examples, order, 5), len(order), mesh
  )
  assert len(logits) == len(mask) == len(index)
  one, one_mask = window_logits(
    forward, reader.batches(examples, order[7:8], 1), 1, mesh
  )
  np.testing.assert_allclose(one[0], logits[7], atol=1e-5)
  np.testing.assert_array_equal(one_mask[0], mask[7])


def test_excerpts_of_one_track_give_one_prediction():
  logits = np.zeros((3, 2, 2))
  logits[0] = [[3.0, 0.0], [3.0, 0.0]]  # track a, first excerpt: genre 0
  logits[1] = [[0.0, 1.0], [9.0, 9.0]]  # track a, second: weakly genre 1
  logits[2] = [[0.0, 1.0], [0.0, 1.0]]  # track b: genre 1
  mask = np.array([[True, True], [True, False], [True, True]])
  label, track_id = np.array([0, 0, 1]), np.array(['a', 'a', 'b'])
  found = score(Predictions(logits, mask, label, track_id, ('x', 'y')))
  assert found['num_tracks'] == 2 and found['num_windows'] == 5
  assert found['track_accuracy'] == 1.0
  assert found['window_accuracy'] == pytest.approx(4 / 5)


def test_temperature_changes_losses_but_no_predicted_genre():
  rng = np.random.default_rng(0)
  predictions = Predictions(
    rng.normal(size=(20, 2, 3)),
    np.ones((20, 2), bool),
    rng.integers(0, 3, 20),
    np.arange(20).astype(str),
    ('x', 'y', 'z'),
  )
  one, two = (score(predictions, temperature=t) for t in (1.0, 5.0))
  assert one['window_accuracy'] == two['window_accuracy']
  assert one['loss'] > two['loss'] and one['track_loss'] > two['track_loss']


def test_each_source_is_scored_separately():
  label = np.array([0, 1, 0, 1, 0])
  logits = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 0]][:, None]
  ids = np.array(['a', 'b', 'c', 'd', 'e'])
  mask = np.ones((5, 1), bool)
  predictions = Predictions(logits, mask, label, ids, ('jazz', 'rock'))
  source = {'a': 'fma', 'b': 'fma', 'c': 'gtzan', 'd': 'fma', 'e': ''}
  found = source_scores(predictions, source)
  assert {name: row['num_tracks'] for name, row in found.items()} == {
    'fma': 3,
    'gtzan': 1,
  }
  assert found['fma']['track_accuracy'] == pytest.approx(2 / 3)
  assert found['gtzan']['track_accuracy'] == 0


def test_a_model_is_traced_once_for_validation_and_evaluation(tiny_config):
  config = Config.from_dict(tiny_config)
  first, second = (
    make_forward(create_model(config), config.windows, data_mesh())
    for _ in range(2)
  )
  assert first is second
  other = dataclasses.replace(config.windows, num_windows=1)
  assert make_forward(create_model(config), other, data_mesh()) is not first
