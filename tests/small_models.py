"""Models small enough to test, and windows for them."""

import functools

import jax

from mgc_jax.models import create_model

B, W, T, F = 2, 3, 32, 20


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
