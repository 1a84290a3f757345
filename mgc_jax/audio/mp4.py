"""Detects truncated MP4 files (m4a, m4b, mov)."""

import os

_MAX_BOXES = 100_000  # enough for hours of fragmented MP4


def is_cut(path: str | os.PathLike) -> bool:
  """Returns whether the last box of an MP4 file extends past its end.

  Args:
    path: any file; the result is False if it is not MP4.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    position = 0
    for number in range(_MAX_BOXES):
      file.seek(position)
      header = file.read(16)
      if number == 0 and header[4:8] != b'ftyp':
        return False
      if len(header) < 8:
        return False
      length = int.from_bytes(header[:4], 'big')
      if length == 1:  # the size follows, in 64 bits
        length = int.from_bytes(header[8:16], 'big')
      if length < 8:  # 0: up to the end of the file
        return False
      position += length
      if position > size:
        return True
  return False
