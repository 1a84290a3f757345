"""Finds the audio files that a person means."""

import os
import sys
from collections.abc import Callable, Iterator

from mgc_jax import audio
from mgc_jax.errors import DataError


def find_files(words: list[str]) -> list[str]:
  """Returns the files that words of the command line mean.

  Args:
    words: files, taken as they are; folders, whose audio files are found,
      sub-folders and all; `-` for a list on standard input, a line each.

  Raises:
    DataError: a folder has no audio in it.
  """
  found: list[str] = []
  unread: list[str] = []  # folders, to be named by who cannot read them

  def cannot_be_read(error: OSError) -> None:
    unread.append(error.filename)

  for word in words:
    if word == '-':
      lines = (os.fsdecode(line) for line in sys.stdin.buffer)
      found += [line.rstrip('\r\n') for line in lines if line.strip()]
    elif os.path.isdir(word):
      inside = list(audio_files(word, cannot_be_read))
      if not inside and not unread:
        raise DataError(
          f'{word}: no audio in it; it would end in '
          + ', '.join(audio.EXTENSIONS)
        )
      found += inside
    else:
      found.append(word)
  return found + unread


def audio_files(
  folder: str, on_error: Callable[[OSError], None] | None = None
) -> Iterator[str]:
  """Yields the audio files in a folder and its sub-folders, in order.

  Names that begin with a dot are no music (macOS: ._song.mp3).

  Args:
    folder: to walk.
    on_error: is told of folders that cannot be read; else they are left out.
  """
  for place, folders, names in os.walk(folder, onerror=on_error):
    folders.sort()
    for name in sorted(names):
      if name.lower().endswith(audio.EXTENSIONS) and not name.startswith('.'):
        yield os.path.join(place, name)
