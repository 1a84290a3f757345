"""Blocks of samples, f32[n, channels], as both readers yield them."""

from collections.abc import Iterable, Iterator

import numpy as np

_BLOCK_VALUES = 1 << 17


def block_frames(num_channels: int) -> int:
  """Returns how many sample frames to decode at once.

  Args:
    num_channels: of the file; it may claim very many, so that a fixed number
      of frames would cost memory.
  """
  return max(1, _BLOCK_VALUES // num_channels)


def part(
  blocks: Iterable[np.ndarray], num_dropped: int, num_kept: int | None
) -> Iterator[np.ndarray]:
  """Yields a part of some blocks, and takes no more blocks than it needs.

  Args:
    blocks: f32[n, channels] each.
    num_dropped: sample frames before the part.
    num_kept: sample frames of the part; None for all that follow.
  """
  if num_kept == 0:
    return
  for block in blocks:
    start = min(num_dropped, len(block))
    num_dropped -= start
    block = block[start:][:num_kept]
    if len(block):
      yield block
    if num_kept is not None:
      num_kept -= len(block)
      if not num_kept:
        return
