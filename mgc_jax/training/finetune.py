"""Starts training from the weights of a bundle, or of a pretrained encoder."""

import dataclasses
import logging
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from mgc_jax.config.schema import Config
from mgc_jax.models import bundle as bundles
from mgc_jax.models import heads
from mgc_jax.models.bundle import Bundle
from mgc_jax.system.errors import ConfigError
from mgc_jax.training.step import TrainState

PyTree = Any

_logger = logging.getLogger(__name__)
_UNUSED_SECTIONS = {
  'cnn': ('lstm',),
  'lstm': ('cnn',),
  'musicnn': ('cnn', 'lstm'),
}


def start_from_encoder(state: TrainState, config: Config) -> TrainState:
  """Returns a state with the weights of the encoder that is the network.

  Args:
    state: a new state, at step 0; returned as it is if `config.model.name` is
      no encoder.
    config: the whole configuration.

  Raises:
    DataError: the weights of the encoder cannot be read.
  """
  if config.model.name != 'musicnn':
    return state
  from mgc_jax.features import musicnn_encoder

  found = musicnn_encoder.load().variables
  params = {
    name: found['params'].get(name, value)
    for name, value in state.params.items()
  }
  return _with_weights(state, params, found['batch_stats'])


def _with_weights(
  state: TrainState, params: PyTree, batch_stats: PyTree
) -> TrainState:
  """Returns a state with other weights, which are also the average so far."""
  params = jax.tree.map(jnp.asarray, params)
  return dataclasses.replace(
    state,
    params=params,
    batch_stats=jax.tree.map(jnp.asarray, batch_stats),
    # A copy, because both are donated, and a buffer can be donated only once.
    ema_params=None
    if state.ema_params is None
    else jax.tree.map(jnp.copy, params),
  )


def start_from_bundle(
  state: TrainState, config: Config, genres: tuple[str, ...]
) -> TrainState:
  """Returns a state with the weights of the bundle `config.train.init_from`.

  The backbone (all but the dense layers) and the band statistics are those of
  the bundle. So is the head, if its genres and its dense layers are those of
  the model; otherwise the head remains as in `state`.

  Args:
    state: a new state, at step 0; returned as it is if `init_from` is unset.
    config: the whole configuration.
    genres: the genres of the data, in the order of their labels.

  Raises:
    ConfigError: the bundle's features, model or shapes do not fit; names them.
    DataError: there is no such bundle, or it is damaged.
  """
  bundle, where = check_init_from(config), config.train.init_from
  if bundle is None or where is None:
    return state
  params = bundle.variables['params']
  own, new = heads(params), heads(state.params)
  if bundle.genres != genres:
    reason = 'its genres are different'
  elif _other_head(own, new, bundle.config, config):
    reason = 'its dense layers are different'
  else:
    reason = ''
  if reason:
    backbone = flatten_dict(params)
    for path in own:
      del backbone[path]
    params = unflatten_dict({**backbone, **new})
  _check_shapes(params, state, where)
  _logger.info(
    'starting with the weights of %s%s',
    where,
    f', with a new head: {reason}' if reason else '',
  )
  state = _with_weights(state, params, bundle.variables['batch_stats'])
  return dataclasses.replace(
    state,
    band_mean=jnp.asarray(bundle.band_mean),
    band_std=jnp.asarray(bundle.band_std),
  )


def check_init_from(config: Config) -> Bundle | None:
  """Returns the bundle `config.train.init_from`; None if that is unset.

  Args:
    config: the whole configuration, with which the bundle's is compared.

  Raises:
    ConfigError: the bundle's features or model do not fit; names the field.
    DataError: there is no such bundle, or it is damaged.
  """
  path = config.train.init_from
  if not path:
    return None
  bundle = bundles.load(path)
  _check_settings(bundle, config, path)
  return bundle


def _other_head(
  found: dict, wanted: dict, source: Config, config: Config
) -> bool:
  """Returns whether two heads differ in shapes or in activation."""
  activations = (source.model.dense.activation, config.model.dense.activation)
  shapes = [{k: v.shape for k, v in flat.items()} for flat in (found, wanted)]
  return shapes[0] != shapes[1] or len(set(activations)) > 1


def _check_settings(bundle: Bundle, config: Config, path: str) -> None:
  """Compares the settings that the weights depend on besides their shapes."""
  for section in ('features', 'windows', 'model'):
    wanted, found = (
      flatten_dict(getattr(c, section).to_dict(), sep='.')
      for c in (config, bundle.config)
    )
    for name, value in found.items():
      if section == 'model' and _may_differ(name, config.model.name):
        continue
      if section == 'windows' and name != 'standardise':
        continue
      if wanted[name] != value:
        raise ConfigError(
          f'config.{section}.{name}={wanted[name]}: the bundle '
          f'config.train.init_from={path} has {value}'
        )


def _may_differ(name: str, network: str) -> bool:
  """Returns whether weights of a network remain valid if a field changes.

  Args:
    name: the field, within `config.model`.
    network: `config.model.name`; it has no use for the fields of some others.
  """
  section = name.partition('.')[0]
  return (
    name in ('dtype', 'num_genres')
    or section == 'dense'
    or section in _UNUSED_SECTIONS.get(network, ())
    or name.endswith('dropout')
  )


def _check_shapes(params: Any, state: TrainState, path: str) -> None:
  """Raises `ConfigError` if a weight is missing or has another shape."""
  found, wanted = _shapes(params), _shapes(state.params)
  for name in sorted(found.keys() | wanted.keys()):
    if found.get(name) != wanted.get(name):
      raise ConfigError(
        f'config.train.init_from={path}: {name} has the shape '
        f'{found.get(name)}, in this model {wanted.get(name)}'
      )


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
  flat: dict[str, Any] = flatten_dict(params, sep='/')
  return {k: v.shape for k, v in flat.items()}
