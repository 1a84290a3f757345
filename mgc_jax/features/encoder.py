"""Encodes a track with musicnn, whichever runtime computes the network."""

import abc
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from mgc_jax.audio import musicnn_mel
from mgc_jax.config.schema import ENCODERS
from mgc_jax.system.errors import DataError

FOLDER = pathlib.Path(__file__).parent / 'musicnn_msd'
WEIGHTS_FILE = 'weights.safetensors'
TAGS_FILE = 'tags.json'

_NUM_TAGS = ENCODERS['musicnn_tags']['num_bands']
# Windows that are encoded at a time; a multiple of the lanes of a vector
# instruction.
BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True)
class Encoder(abc.ABC):
  """The network and the names of its tags."""

  tag_names: tuple[str, ...]

  @abc.abstractmethod
  def compute(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the network for `BATCH_SIZE` windows that overlap.

    Args:
      frames: f32[L, 96], the frames of so many windows of a track.

    Returns:
      f32[BATCH_SIZE, 200] features, and f32[BATCH_SIZE, 50] probabilities.
    """

  def encode(
    self, samples: np.ndarray | Iterable[np.ndarray]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Encodes a track, a window of 3 s about every second.

    Args:
      samples: f32[L] mono at 16 kHz, or its blocks, one after another; blocks
        are encoded in memory that does not depend on the length.

    Returns:
      f32[W, 200] features, and f32[W, 50] probabilities of `tag_names`.
    """
    blocks = [samples] if isinstance(samples, np.ndarray) else samples
    window, hop = musicnn_mel.NUM_FRAMES, musicnn_mel.HOP_FRAMES
    length = (BATCH_SIZE - 1) * hop + window
    features, tags = [], []
    for frames in musicnn_mel.frames(blocks, BATCH_SIZE):
      num_windows = (len(frames) - window) // hop + 1
      padded = np.pad(frames, ((0, length - len(frames)), (0, 0)))
      found = self.compute(padded)
      features.append(found[0][:num_windows])
      tags.append(found[1][:num_windows])
    return np.concatenate(features), np.concatenate(tags)


def read_tag_names(folder: str | os.PathLike = FOLDER) -> tuple[str, ...]:
  """Returns the names of the tags in the order of the network's outputs.

  Args:
    folder: made by `experiments.encoders.musicnn_checkpoint`.

  Raises:
    DataError: the file is missing or damaged.
  """
  path = pathlib.Path(folder) / TAGS_FILE
  try:
    tag_names = tuple(map(str, json.loads(path.read_bytes())))
  except (OSError, ValueError, TypeError) as error:
    raise DataError(f'{path}: cannot be read ({error})') from error
  if len(tag_names) != _NUM_TAGS:
    raise DataError(f'{path}: {len(tag_names)} tags, not {_NUM_TAGS}')
  return tag_names


def weights_digest() -> str:
  """Returns the SHA-256 of the package's weights, as hexadecimal digits.

  Raises:
    DataError: the file cannot be read.
  """
  path = FOLDER / WEIGHTS_FILE
  try:
    return hashlib.sha256(path.read_bytes()).hexdigest()
  except OSError as error:
    raise DataError(f'{path}: cannot be read ({error})') from error
