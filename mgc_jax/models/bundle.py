"""A bundle: a trained model and its settings in one small folder.

`bundle.json` has the settings of features, windows and model, and the genres.
It names the file of the weights (safetensors) and their digest. Nothing in a
bundle is pickled, and neither optimiser nor records nor tensorflow are needed.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from mgc_jax.config import versions
from mgc_jax.config.schema import Config
from mgc_jax.models import create_model
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import is_shown

JSON_FILE = 'bundle.json'
_SECTIONS = ('features', 'windows', 'model')
_MAX_WEIGHTS_BYTES = 1 << 30
_MAX_JSON_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Bundle:
  """A trained model."""

  config: Config  # features, windows and model; other sections are not saved
  genres: tuple[str, ...]
  variables: dict[str, Any]  # params and batch_stats, f32
  band_mean: np.ndarray  # f32[F]
  band_std: np.ndarray  # f32[F]
  temperature: float = 1.0  # logits are divided by it
  info: dict[str, Any] = dataclasses.field(default_factory=dict)  # provenance

  @property
  def num_params(self) -> int:
    """The number of trained weights."""
    return sum(x.size for x in jax.tree.leaves(self.variables['params']))


def as_trained(config: Config, protocol: str) -> Config:
  """Returns the settings with which a trained model is evaluated.

  A model that was trained on single windows is evaluated on each window alone:
  an LSTM is not stateful. If the examples were windows, each is standardised by
  its own mean and standard deviation, as in training, even when it is cut from
  a whole excerpt.

  Args:
    config: Configuration of the training run.
    protocol: Protocol of its split.
  """
  windows, model = config.windows, config.model
  single = 'window' in (config.data.examples, protocol)
  if single or windows.num_windows == 1:
    lstm = dataclasses.replace(model.lstm, stateful=False)
    model = dataclasses.replace(model, lstm=lstm)
  if single and windows.standardise == 'excerpt':
    windows = dataclasses.replace(windows, standardise='window')
  return dataclasses.replace(config, windows=windows, model=model)


def save(bundle: Bundle, directory: str | os.PathLike) -> None:
  """Writes a bundle atomically: a reader sees the old one or the new one.

  The file of the weights is named by its content. `bundle.json`, which names
  it, is replaced last.

  Args:
    bundle: The model to write.
    directory: Created if missing; older weights in it are deleted.

  Raises:
    OSError: The folder cannot be written.
  """
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  data = safetensors.numpy.save(_flat(bundle))
  digest = hashlib.sha256(data).hexdigest()
  name = f'weights-{digest[:12]}.safetensors'
  atomic_file.write_bytes(directory / name, data)
  meta = {
    versions.VERSION_FIELD: versions.FORMAT_VERSION,
    'weights': name,
    'weights_sha256': digest,
    'genres': list(bundle.genres),
    'temperature': bundle.temperature,
    'info': bundle.info,
    **{name: getattr(bundle.config, name).to_dict() for name in _SECTIONS},
  }
  atomic_file.write_bytes(
    directory / JSON_FILE, json.dumps(meta, indent=2).encode()
  )
  for old in directory.glob('weights-*.safetensors'):
    if old.name != name:
      old.unlink()


def load(directory: str | os.PathLike) -> Bundle:
  """Reads a bundle and checks everything in it.

  Args:
    directory: Folder of `bundle.json`.

  Raises:
    DataError: There is no bundle, it is damaged, or its weights do not fit its
      model; the message names the file.
  """
  directory = pathlib.Path(directory)
  meta = _read_json(directory / JSON_FILE)
  weights = _read_weights(directory, meta)
  try:
    bundle = _bundle(meta, weights)
    _check_shapes(bundle, directory)
    _check_values(bundle, weights, directory)
  except DataError:
    raise
  except (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
  ) as error:
    reason = ' '.join(str(error).split())  # some have several lines
    raise DataError(
      f'{directory / JSON_FILE}: not a bundle ({reason})'
    ) from error
  return bundle


def _flat(bundle: Bundle) -> dict[str, np.ndarray]:
  tree = {
    **bundle.variables,
    'bands': {'mean': bundle.band_mean, 'std': bundle.band_std},
  }
  # safetensors writes memory as it is, so arrays must be contiguous.
  return {
    name: np.ascontiguousarray(value, np.float32)
    for name, value in flatten_dict(jax.device_get(tree), sep='/').items()
  }


def _read(path: pathlib.Path, max_bytes: int) -> bytes:
  """Reads a regular file of limited size."""
  # Reading a pipe would wait, and reading a device would never end.
  if path.exists() and not path.is_file():
    raise DataError(f'{path}: not a file')
  if path.stat().st_size > max_bytes:
    raise DataError(f'{path}: over {max_bytes} bytes')
  return path.read_bytes()


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    meta = json.loads(_read(path, _MAX_JSON_BYTES))
  except FileNotFoundError as error:
    raise DataError(f'{path}: no such file; train first') from error
  except DataError:  # a ValueError, too
    raise
  except (OSError, RecursionError, ValueError) as error:
    raise DataError(f'{path}: cannot be read ({error})') from error
  readable = versions.READABLE
  if not (
    isinstance(meta, dict) and meta.get(versions.VERSION_FIELD) in readable
  ):
    raise DataError(
      f'{path}: not a bundle of version {" or ".join(map(str, readable))}'
    )
  return meta


def _read_weights(
  directory: pathlib.Path, meta: dict[str, Any]
) -> dict[str, np.ndarray]:
  name = str(meta.get('weights'))
  path = directory / name
  if pathlib.PurePath(name).name != name:
    raise DataError(
      f'{directory / JSON_FILE}: weights {name} are outside the folder'
    )
  try:
    if not path.resolve().is_relative_to(directory.resolve()):
      raise DataError(f'{path}: a link to outside the folder')
    data = _read(path, _MAX_WEIGHTS_BYTES)
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except DataError:
    raise
  except ValueError as error:  # not a valid file name
    raise DataError(f'{directory / JSON_FILE}: weights: {error}') from error
  if hashlib.sha256(data).hexdigest() != meta.get('weights_sha256'):
    raise DataError(f'{path}: damaged; its digest is not that of the bundle')
  try:
    return safetensors.numpy.load(data)
  except safetensors.SafetensorError as error:
    raise DataError(f'{path}: not a safetensors file ({error})') from error


def _bundle(meta: dict[str, Any], weights: dict[str, np.ndarray]) -> Bundle:
  tree = unflatten_dict(weights, sep='/')
  bands = tree.pop('bands')
  tree.setdefault('batch_stats', {})
  return Bundle(
    config=versions.read_sections(meta, _SECTIONS),
    genres=_names(meta['genres']),
    variables=tree,
    band_mean=bands['mean'],
    band_std=bands['std'],
    temperature=float(meta['temperature']),
    info=dict(meta['info']),
  )


def _names(genres: Any) -> tuple[str, ...]:
  if not isinstance(genres, list) or not all(
    isinstance(genre, str) for genre in genres
  ):
    raise ValueError('genres: not a list of names')
  return tuple(genres)


def _check_shapes(bundle: Bundle, directory: pathlib.Path) -> None:
  """Compares the shapes of the weights with those of the bundle's model."""
  config = bundle.config
  num_bands = config.features.num_bands
  shape = (1, 1, config.windows.num_frames, num_bands)
  wanted = jax.eval_shape(
    create_model(config).init,
    jax.random.key(0),
    # Needs no memory, whatever sizes the file claims.
    jax.ShapeDtypeStruct(shape, np.float32),
  )
  wanted = {'batch_stats': {}, **wanted}
  wanted['bands'] = {
    name: jax.ShapeDtypeStruct((num_bands,), np.float32)
    for name in ('mean', 'std')
  }
  flat: dict[str, Any] = flatten_dict(wanted, sep='/')
  expected = {k: v.shape for k, v in flat.items()}
  found = {k: v.shape for k, v in _flat(bundle).items()}
  if expected != found or config.model.num_genres != len(bundle.genres):
    odd = sorted(set(expected.items()) ^ set(found.items()))[:3]
    raise DataError(f'{directory}: the weights do not fit the model: {odd}')


def _check_values(
  bundle: Bundle, weights: dict[str, np.ndarray], directory: pathlib.Path
) -> None:
  """Raises `DataError` for values that training cannot produce."""
  for name, value in weights.items():
    if value.dtype != np.float32 or not np.isfinite(value).all():
      raise DataError(f'{directory}: weights {name}: not finite 32-bit floats')
  if not (bundle.band_std > 0).all():
    raise DataError(f'{directory}: weights bands/std: not positive')
  if not 0 < bundle.temperature < 1e6:
    raise DataError(
      f'{directory / JSON_FILE}: temperature {bundle.temperature}: must be '
      'positive and finite'
    )
  names = bundle.genres
  if len(set(names)) < len(names) or not all(
    name and all(map(is_shown, name)) for name in names
  ):
    raise DataError(
      f'{directory / JSON_FILE}: genres {list(names)}: must be different names'
    )


def digest(directory: str | os.PathLike) -> str:
  """Returns the SHA-256 of a bundle's weights, as stated in `bundle.json`."""
  meta = _read_json(pathlib.Path(directory) / JSON_FILE)
  return str(meta.get('weights_sha256'))
