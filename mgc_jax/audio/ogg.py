"""Detects chained, joined and truncated streams in Ogg and FLAC files."""

import dataclasses
import mmap
import os
import re

# Version 0, then the flags of the page: 2 starts a stream, 4 ends one.
_FIRST_PAGE = re.compile(rb'OggS\0[\x02\x03\x06\x07]')
_LATER_PAGE = re.compile(rb'OggS\0[\x00\x01\x04\x05]')
_PAGE_HEADER_BYTES = 27
_TAIL_BYTES = 1 << 17


@dataclasses.dataclass(frozen=True)
class OggPages:
  """What the pages of an Ogg file show.

  Attributes:
    is_chained: whether another stream starts after the sound of the first.
    has_end: whether the last page is marked as the end of its stream.
    is_cut: whether the file ends in the middle of its last page.
  """

  is_chained: bool
  has_end: bool
  is_cut: bool


def ogg_pages(path: str | os.PathLike) -> OggPages:
  """Scans the pages of an Ogg file.

  Args:
    path: an Ogg file that is not empty.
  """
  with open(path, 'rb') as file:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
      later = _LATER_PAGE.search(data)
      is_chained = bool(later and _FIRST_PAGE.search(data, later.end()))
      last = data.rfind(b'OggS', max(0, len(data) - _TAIL_BYTES))
      header = (
        data[last : last + _PAGE_HEADER_BYTES + 255] if last >= 0 else b''
      )
      size = len(data)
  if len(header) < _PAGE_HEADER_BYTES:
    return OggPages(is_chained, False, last >= 0)
  segments = header[_PAGE_HEADER_BYTES : _PAGE_HEADER_BYTES + header[26]]
  end = last + _PAGE_HEADER_BYTES + header[26] + sum(segments)
  is_cut = end > size or len(segments) < header[26]
  return OggPages(is_chained, bool(header[5] & 4), is_cut)


def is_joined_flac(path: str | os.PathLike) -> bool:
  """Returns whether a file is several FLAC files joined with `cat`.

  Args:
    path: a FLAC file that is not empty.
  """
  with open(path, 'rb') as file:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
      # The STREAMINFO block of the second one has type 0 and 34 bytes.
      first = data.find(b'fLaC')
      return data.find(b'fLaC\0\0\0\x22', first + 4) >= 0
