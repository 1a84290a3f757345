"""The metadata in an exported model, the same for JAX and ONNX.

It is JSON with genres, features, windows, temperature and a digest. All of it
is checked, because the file may come from anywhere.
"""

import dataclasses
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from mgc_jax.config import versions
from mgc_jax.config.schema import Config, FeaturesConfig, frame_rate_hz
from mgc_jax.system.printable_text import is_shown

if TYPE_CHECKING:  # imports Flax
  from mgc_jax.models.bundle import Bundle

_SECTIONS = ('features', 'windows')
_DIGESTED = (*_SECTIONS, 'model')
_DTYPES = ['float16', 'int32', 'float32', 'bool', 'float32']
_RANKS = [3, 1, 3, 2, 3]


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
  """Everything about a model except the network and its weights."""

  config: Config  # features and windows; other sections have defaults
  genres: tuple[str, ...]
  temperature: float
  digest: str  # SHA-256 of the weights and of all settings

  @property
  def max_frames(self) -> int:
    """Returns N, the number of frames that an excerpt is padded to."""
    return max_frames(self.config.features)


def max_frames(features: FeaturesConfig) -> int:
  """Returns the number of frames of the longest excerpt.

  Args:
    features: `config.features`.
  """
  most = 1 + int(features.excerpt_s * frame_rate_hz(features))
  return min(most, features.max_frames or most)


def metadata_json(bundle: 'Bundle') -> str:
  """Returns a trained model's metadata as JSON."""
  config = bundle.config
  meta = {
    versions.VERSION_FIELD: versions.FORMAT_VERSION,
    'genres': list(bundle.genres),
    'temperature': bundle.temperature,
    'digest': _digest(bundle),
    'info': bundle.info,
    **{name: getattr(config, name).to_dict() for name in _SECTIONS},
  }
  return json.dumps(meta, indent=2)


def _digest(bundle: 'Bundle') -> str:
  import jax  # not needed to read a file

  # With the old names of fields: a model keeps its digest, and an index of a
  # collection made with it stays valid.
  found = versions.downgrade(bundle.config.to_dict())
  settings = [json.dumps(found[name], sort_keys=True) for name in _DIGESTED]
  text = json.dumps([settings, bundle.genres, bundle.temperature])
  digest = hashlib.sha256(text.encode())
  tree = bundle.variables, bundle.band_mean, bundle.band_std
  for array in jax.tree.leaves(tree):
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()


def parse(text: str | bytes) -> ModelMetadata:
  """Parses and checks JSON metadata.

  Args:
    text: the result of `metadata_json`, or any other text.

  Raises:
    KeyError: a field is missing.
    TypeError: a field has the wrong type.
    ValueError: the text is not JSON, or a field has an invalid value.
  """
  meta: dict[str, Any] = json.loads(text)
  version = meta.get(versions.VERSION_FIELD)
  if version not in versions.READABLE:
    readable = ' or '.join(map(str, versions.READABLE))
    raise ValueError(f'format version {version}, not {readable}')
  config = versions.read_sections(meta, _SECTIONS)
  genres = tuple(meta['genres'])
  if not all(isinstance(g, str) and g for g in genres) or not all(
    is_shown(character) for genre in genres for character in genre
  ):
    raise ValueError('genres: must be printable names')
  if not genres or len(set(genres)) < len(genres):
    raise ValueError('genres: must be one or more different names')
  temperature = float(meta['temperature'])
  if not 0 < temperature < 1e6:
    raise ValueError(f'temperature {temperature}: must be positive')
  digest = meta['digest']
  if not (isinstance(digest, str) and re.fullmatch('[0-9a-f]{64}', digest)):
    raise ValueError('digest: not a SHA-256')
  return ModelMetadata(config, genres, temperature, digest)


def check_signature(
  metadata: ModelMetadata, dtypes: list[str], shapes: list[tuple]
) -> None:
  """Raises `ValueError` if a program contradicts its metadata.

  Args:
    metadata: the program's metadata.
    dtypes: the dtypes of frames, num_frames, logits, mask and embedding.
    shapes: the shapes of the same arrays.
  """
  size = (metadata.max_frames, metadata.config.features.num_bands)
  if (
    dtypes != _DTYPES
    or [len(shape) for shape in shapes] != _RANKS
    or tuple(shapes[0][1:]) != size
    or shapes[2][2] != len(metadata.genres)
    or not shapes[2][1] == shapes[3][1] == shapes[4][1]
  ):
    raise ValueError('the program does not match its metadata')
