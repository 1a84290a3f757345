"""The models, which map f32[B, W, T, F] windows to f32[B, W, C] logits."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from mgc_jax.config.schema import Config
from mgc_jax.models.cnn import Cnn
from mgc_jax.models.crnn import Crnn
from mgc_jax.models.ensemble import Ensemble
from mgc_jax.models.layers import INTERMEDIATES
from mgc_jax.models.lstm import Lstm
from mgc_jax.models.musicnn_classifier import MusicnnClassifier
from mgc_jax.system.errors import ConfigError

PyTree = Any

HEAD = 'Head_0'  # name of the dense layers in the parameters of all models
_MODELS = ('cnn', 'lstm', 'crnn', 'musicnn')
_LSTM_ONLY = (
  'stack_frames',
  'deltas',
  'bands_as_steps',
  'encoder_size',
  'encoder_dropout',
)


def create_model(config: Config) -> nn.Module:
  """Returns the model that a configuration describes.

  Args:
    config: `config.model` and `config.train.freeze_backbone` are used.

  Returns:
    A Linen module, called as `model.apply(variables, windows, train=False)`
    with f32[B, W, T, F] windows of excerpts in order; it returns f32[B, W, C]
    logits. With `train=True` it needs an rng named `dropout`, and
    `mutable=['batch_stats']` if it has batch norm.

  Raises:
    ConfigError: `config.model.name` is none of these networks.
  """
  num_members = config.model.num_members
  if num_members == 1:
    return _network(config)
  return Ensemble(tuple(_network(config) for _ in range(num_members)))


def _network(config: Config) -> nn.Module:
  model = config.model
  cnn, lstm = model.cnn.to_dict(), model.lstm.to_dict()
  shared = {
    'num_genres': model.num_genres,
    'freeze_backbone': config.train.freeze_backbone,
    'dtype': jnp.dtype(model.dtype),
    **{f'dense_{name}': x for name, x in model.dense.to_dict().items()},
  }
  if model.name == 'cnn':
    return Cnn(**cnn, **shared)
  if model.name == 'lstm':
    return Lstm(**lstm, **shared)
  if model.name == 'crnn':
    lstm = {f'lstm_{k}': x for k, x in lstm.items() if k not in _LSTM_ONLY}
    return Crnn(**cnn, **lstm, **shared)
  if model.name == 'musicnn':
    del shared['dtype']  # always float32
    return MusicnnClassifier(**shared)
  raise ConfigError(
    f'config.model.name={model.name}: must be one of {", ".join(_MODELS)}'
  )


def embed_windows(
  model: nn.Module, variables: PyTree, windows: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the logits of windows and their embeddings.

  Args:
    model: A model from `create_model`.
    variables: Its parameters and batch statistics.
    windows: f32[B, W, T, F].

  Returns:
    f32[B, W, C] logits, and f32[B, W, D] inputs of the last dense layer, those
    of all members concatenated.
  """
  logits, state = model.apply(variables, windows, mutable=[INTERMEDIATES])
  embeddings = jax.tree.leaves(state[INTERMEDIATES])
  return logits, jnp.concatenate(embeddings, axis=-1).astype(jnp.float32)


def heads(params: PyTree) -> dict[tuple[str, ...], jax.Array]:
  """Returns the parameters of the dense layers of all members, by path.

  Args:
    params: Parameters of a model from `create_model`.
  """
  flat: dict[tuple[str, ...], Any] = flatten_dict(params)
  return {path: value for path, value in flat.items() if HEAD in path}
