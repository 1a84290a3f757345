"""Reads the length that an MP3 states, if it covers the whole file."""

import os
import re

_HEADER = re.compile(rb'Xing|Info|VBRI')
# From the first byte of an MPEG frame to its Xing header; depends on version
# and number of channels. The offset of a VBRI header is always 36.
_HEADER_OFFSETS = (36, 21, 13)
_HEAD_BYTES = 4096
_SLACK_BYTES = 4096  # some encoders count the header's own frame, some do not
_TAGS = (b'APETAGEX', b'LYRICSBEGIN', b'TAG')
_MAX_ID3_TAGS = 8  # some programs write several in a row
_FRAMES, _BYTES = 1, 2  # flags of a Xing header


def stated_samples(path: str | os.PathLike) -> tuple[str, int] | None:
  """Reads the header that encoders put into the first frame of an MP3.

  Most encoders write Xing and Info headers, Fraunhofer's writes VBRI; see
  https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header.

  Args:
    path: an MP3 file.

  Returns:
    `Xing` or `VBRI`, and the stated number of samples per channel. None if
    there is no header, or if it describes only part of the file: files joined
    with `cat` begin with the header of their first part.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    start = _end_of_id3(file)
    file.seek(start)
    head = file.read(_HEAD_BYTES)
    found = _HEADER.search(head)
    if not found:
      return None
    frame = _frame_of(head, found.start())
    if frame is None:
      return None
    kind, num_frames, num_bytes = _counts(head[found.start() :])
    end = start + frame + num_bytes
    if not (num_frames and num_bytes):
      return None
    if end + _SLACK_BYTES < size and not _ends_in_tags(file, end):
      return None
  is_mpeg1 = head[frame + 1] >> 3 & 3 == 3
  return kind, num_frames * (1152 if is_mpeg1 else 576)


def _end_of_id3(file) -> int:
  """Returns where the ID3v2 tags at the start of a file end."""
  position = 0
  for _ in range(_MAX_ID3_TAGS):
    file.seek(position)
    header = file.read(10)
    if len(header) < 10 or not header.startswith(b'ID3'):
      break
    size = 0
    for byte in header[6:10]:
      size = size << 7 | byte & 0x7F
    has_footer = header[5] & 0x10
    position += 10 + size + (10 if has_footer else 0)
  return position


def _frame_of(head: bytes, header: int) -> int | None:
  """Returns where the MPEG frame around a Xing or VBRI header starts."""
  for offset in _HEADER_OFFSETS:
    at = header - offset
    if at >= 0 and head[at] == 0xFF and head[at + 1] & 0xE0 == 0xE0:
      return at
  return None


def _counts(header: bytes) -> tuple[str, int, int]:
  """Returns the kind of a header, its frames and bytes; 0 if not stated."""
  if header.startswith(b'VBRI'):
    num_bytes = int.from_bytes(header[10:14], 'big')
    return 'VBRI', int.from_bytes(header[14:18], 'big'), num_bytes
  flags, at = int.from_bytes(header[4:8], 'big'), 8
  values = {_FRAMES: 0, _BYTES: 0}
  for flag in values:
    if flags & flag:
      values[flag] = int.from_bytes(header[at : at + 4], 'big')
      at += 4
  return 'Xing', values[_FRAMES], values[_BYTES]


def _ends_in_tags(file, end: int) -> bool:
  """Returns whether only tags or zeros follow the stated end."""
  file.seek(max(0, end - _SLACK_BYTES // 2))
  around = file.read(2 * _SLACK_BYTES)
  after = around[_SLACK_BYTES // 2 :]
  return any(tag in around for tag in _TAGS) or not after.strip(b'\0')
