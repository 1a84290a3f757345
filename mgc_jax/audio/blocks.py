"""Blocks of samples, f32[n, channels], the form that both readers yield."""

from collections.abc import Iterable, Iterator

import numpy as np

_BLOCK_VALUES = 1 << 17


def block_frames(num_channels: int) -> int:
  """Returns how many sample frames to decode at once.

  Args:
    num_channels: what the file's header states. It may be very large, so a
      fixed number of frames could exhaust memory.
  """
  return max(1, _BLOCK_VALUES // num_channels)


def part(
  blocks: Iterable[np.ndarray], num_dropped: int, num_kept: int | None
) -> Iterator[np.ndarray]:
  """Yields part of a sequence of blocks, consuming no more than it needs.

  Args:
    blocks: f32[n, channels] each.
    num_dropped: sample frames to drop from the beginning.
    num_kept: sample frames to yield after those; None for all of them.
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
