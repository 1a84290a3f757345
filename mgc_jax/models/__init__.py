"""The models: `f32[B, W, T, F] windows -> f32[B, W, C] logits`, all three."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, FrozenConfigDict

from mgc_jax.models.cnn import Cnn
from mgc_jax.models.crnn import Crnn
from mgc_jax.models.ensemble import Ensemble
from mgc_jax.models.layers import INTERMEDIATES
from mgc_jax.models.lstm import Lstm
from mgc_jax.system.errors import ConfigError

PyTree = Any

HEAD = 'Head_0'  # in the path of the dense layers' parameters, of all three
_MODELS = {'cnn': Cnn, 'lstm': Lstm, 'crnn': Crnn}


def create_model(config: ConfigDict) -> nn.Module:
  """Makes the model that a configuration describes.

  Args:
    config: what a config file's `get_config()` returns; `config.model` and
      `config.train.freeze_body` are read.

  Returns:
    A Linen module called as `model.apply(variables, windows, train=False)`,
    with f32[B, W, T, F] windows of an excerpt in order, and f32[B, W, C] logits
    as its result. With `train=True` it needs an rng named `dropout`, and
    `mutable=['batch_stats']` where it normalises batches.

  Raises:
    ConfigError: `config.model.name` is none of cnn, lstm, crnn.
  """
  settings = FrozenConfigDict(config.model)
  if settings.name not in _MODELS:
    raise ConfigError(
      f'config.model.name={settings.name}: must be one of {", ".join(_MODELS)}'
    )
  make = functools.partial(
    _MODELS[settings.name],
    settings,
    jnp.dtype(settings.dtype),
    config.train.freeze_body,
  )
  if settings.num_members == 1:
    return make()
  return Ensemble(tuple(make() for _ in range(settings.num_members)))


def embed_windows(
  model: nn.Module, variables: PyTree, windows: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Answers, and returns what the answer was made from.

  Args:
    model: of `create_model`.
    variables: of the model.
    windows: f32[B, W, T, F].

  Returns:
    f32[B, W, C] logits, and f32[B, W, D], the input of the last dense layer, of
    all members side by side.
  """
  logits, state = model.apply(variables, windows, mutable=[INTERMEDIATES])
  embeddings = jax.tree.leaves(state[INTERMEDIATES])
  return logits, jnp.concatenate(embeddings, axis=-1).astype(jnp.float32)


def heads(params: PyTree) -> dict[tuple[str, ...], jax.Array]:
  """Returns the parameters of the dense layers, of all members, by path.

  Args:
    params: of a model of `create_model`.
  """
  flat: dict[tuple[str, ...], Any] = flatten_dict(params)
  return {path: value for path, value in flat.items() if HEAD in path}
