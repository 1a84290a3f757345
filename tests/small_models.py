"""Models small enough to test, and windows for them."""

import dataclasses
import functools

import jax
import numpy as np

from mgc_jax.models import create_model

B, W, T, F = 2, 3, 32, 20

# Together they have every value of every field that a network depends on.
SETTINGS = {
  'elu after the pool': {
    'model.cnn.norm': 'batch_after_pool',
    'model.cnn.activation': 'elu',
    'model.cnn.padding': 'VALID',
    'model.cnn.readout': 'flatten',
    'windows.standardise': 'excerpt',
  },
  'gelu after the pool': {
    'model.cnn.norm': 'batch_after_pool',
    'model.cnn.activation': 'gelu',
    'model.cnn.kernel_size': 2,
    'windows.standardise': 'window',
  },
  'relu after the pool': {
    'model.cnn.norm': 'batch_after_pool',
    'model.cnn.activation': 'relu',
    'windows.standardise': 'none',
  },
  'silu without norm': {
    'model.cnn.norm': 'none',
    'model.cnn.activation': 'silu',
    'model.cnn.readout': 'mean',
    'model.dense.activation': 'tanh',
    'windows.standardise': 'excerpt_bands',
  },
  'gelu and odd sizes': {
    'model.cnn.activation': 'gelu',
    'model.cnn.stack_frames': 3,
    'model.cnn.stack_bands': 3,
    'model.dense.sizes': (),
    'model.dense.dropout': (),
  },
  'many members': {'model.num_members': 11},
  'crnn over steps': {
    'model.name': 'crnn',
    'model.cnn.readout': 'steps',
    'model.lstm.readout': 'last',
    'model.lstm.bidirectional': True,
  },
  'crnn over means of steps': {
    'model.name': 'crnn',
    'model.cnn.readout': 'step_means',
    'model.lstm.readout': 'flatten',
    'model.lstm.stateful': False,
  },
  'lstm': {
    'model.name': 'lstm',
    'model.lstm.stack_frames': 3,
    'model.lstm.deltas': True,
    'model.lstm.encoder_size': 5,
    'model.lstm.readout': 'flatten',
    'model.lstm.bidirectional': True,
  },
  'lstm over bands': {
    'model.name': 'lstm',
    'model.lstm.bands_as_steps': True,
    'model.lstm.readout': 'mean',
    'model.num_members': 2,
  },
}


def configure(name, tiny_config):
  tiny_config.model.name = name
  tiny_config.model.num_genres = 5
  return tiny_config


def windows(seed=0):
  return jax.random.normal(jax.random.key(seed), (B, W, T, F))


def initialise(config):
  """Returns a model, and variables for it; both are compiled only once."""
  model = create_model(config)
  return model, _variables(model)


@functools.cache
def _variables(model):
  return jax.jit(model.init)(jax.random.key(0), windows())


@functools.partial(jax.jit, static_argnums=0)
def apply(model, variables, x):
  """The logits of the evaluation."""
  return model.apply(variables, x)


def with_random_weights(bundle, config):
  """Returns a bundle whose batch norms have factors of both signs."""
  rng = np.random.default_rng(0)
  windows = np.zeros((1, 1, config.windows.num_frames, F), np.float32)
  shapes = jax.eval_shape(create_model(config).init, jax.random.key(0), windows)

  def weights(path, like):
    values = rng.normal(0, 0.5, like.shape).astype(np.float32)
    return np.abs(values) + 0.5 if path[-1].key == 'var' else values

  variables = jax.tree_util.tree_map_with_path(weights, shapes)
  variables.setdefault('batch_stats', {})
  return dataclasses.replace(bundle, config=config, variables=variables)
