"""What an exported model says of itself, whatever it is written in.

JSON in the file: genres, features, windows, temperature, a digest. It comes
from outside, so all of it is checked.
"""

import dataclasses
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from mgc_jax.config.rules import frame_rate_hz
from mgc_jax.config.schema import base_config, validate
from mgc_jax.system.printable_text import is_shown

if TYPE_CHECKING:  # brings Flax
  from mgc_jax.models.bundle import Bundle

FORMAT_VERSION = 2
_SECTIONS = ('features', 'windows')
_DIGESTED = (*_SECTIONS, 'model')
_KINDS = ['float16', 'int32', 'float32', 'bool', 'float32']
_RANKS = [3, 1, 3, 2, 3]


@dataclasses.dataclass(frozen=True)
class Description:
  """Everything about a model but how it computes."""

  config: ConfigDict  # base_config() with the model's features and windows
  genres: tuple[str, ...]
  temperature: float
  digest: str  # SHA-256 of the weights and of what else makes the answers

  @property
  def max_frames(self) -> int:
    """Returns N, the frames that an excerpt is padded to."""
    return max_frames(self.config.features)


def max_frames(features: ConfigDict) -> int:
  """Returns the frames of the longest excerpt.

  Args:
    features: `config.features`.
  """
  most = 1 + int(features.excerpt_s * frame_rate_hz(features))
  return min(most, features.max_frames or most)


def describe(bundle: 'Bundle') -> str:
  """Returns the JSON of a trained model."""
  config = bundle.config
  meta = {
    'format_version': FORMAT_VERSION,
    'genres': list(bundle.genres),
    'temperature': bundle.temperature,
    'digest': _digest(bundle),
    'info': bundle.info,
    **{section: config[section].to_dict() for section in _SECTIONS},
  }
  return json.dumps(meta, indent=2)


def _digest(bundle: 'Bundle') -> str:
  import jax  # who only reads a file has no need of it

  config = bundle.config
  settings = [config[section].to_json(sort_keys=True) for section in _DIGESTED]
  text = json.dumps([settings, bundle.genres, bundle.temperature])
  digest = hashlib.sha256(text.encode())
  tree = bundle.variables, bundle.band_mean, bundle.band_std
  for array in jax.tree.leaves(tree):
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()


def parse(text: str | bytes) -> Description:
  """Reads the JSON.

  Args:
    text: of `describe`, or of anybody.

  Raises:
    ValueError: it is none; says why. So do `KeyError` and `TypeError`.
  """
  meta: dict[str, Any] = json.loads(text)
  if meta.get('format_version') != FORMAT_VERSION:
    raise ValueError(f'not of version {FORMAT_VERSION}')
  config = base_config()
  config.lock()  # an unknown field is an error
  for section in _SECTIONS:
    config[section].update(meta[section])
  config.unlock()
  validate(config)
  genres = tuple(meta['genres'])
  if not all(isinstance(g, str) and g for g in genres) or not all(
    is_shown(character) for genre in genres for character in genre
  ):
    raise ValueError('genres: not names')
  if not genres or len(set(genres)) < len(genres):
    raise ValueError('genres: none, or one twice')
  temperature = float(meta['temperature'])
  if not 0 < temperature < 1e6:
    raise ValueError(f'temperature {temperature}: must be positive')
  digest = meta['digest']
  if not (isinstance(digest, str) and re.fullmatch('[0-9a-f]{64}', digest)):
    raise ValueError('digest: not a SHA-256')
  return Description(config, genres, temperature, digest)


def check_signature(
  about: Description, kinds: list[str], shapes: list[tuple]
) -> None:
  """Raises `ValueError` where a program is not what its JSON says.

  Args:
    about: of the JSON.
    kinds: names of the dtypes of frames, num_frames, logits, mask, embedding.
    shapes: theirs.
  """
  size = (about.max_frames, about.config.features.num_bands)
  if (
    kinds != _KINDS
    or [len(shape) for shape in shapes] != _RANKS
    or tuple(shapes[0][1:]) != size
    or shapes[2][2] != len(about.genres)
    or not shapes[2][1] == shapes[3][1] == shapes[4][1]
  ):
    raise ValueError('the program does not fit its description')
