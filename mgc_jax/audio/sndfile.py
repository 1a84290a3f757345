"""Reads audio through libsndfile (the soundfile package)."""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

import numpy as np
import soundfile

from mgc_jax.audio.blocks import block_frames, part

# What soundfile raises for a file that libsndfile cannot read: TypeError for
# names that end in .raw, ValueError if the position in a damaged file is past
# its last sample.
ERRORS = (soundfile.LibsndfileError, TypeError, ValueError)


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[soundfile.SoundFile]:
  """Opens an audio file.

  Args:
    path: a file in a format that libsndfile supports.

  Raises:
    Any of `ERRORS`: libsndfile cannot read it.
  """
  with _messages_discarded():
    file = soundfile.SoundFile(
      os.fsencode(path)  # pyright: ignore[reportArgumentType]  accepts bytes
    )
  with file:
    yield file


def blocks(
  path: str | os.PathLike, start_s: float, duration_s: float | None
) -> Iterator[np.ndarray]:
  """Yields consecutive blocks of a file's samples.

  Args:
    path: a file in a format that libsndfile supports.
    start_s: where to start. Formats that cannot seek (GSM, G.72x) are read
      from the beginning, and the samples before `start_s` are dropped.
    duration_s: how much to read; None for all that follows.

  Yields:
    f32[n, channels] at the file's own sample rate, full scale at 1.

  Raises:
    Any of `ERRORS`: the file is damaged.
  """
  with opened(path) as file:
    rate_hz = file.samplerate
    num_dropped = _seek(file, round(start_s * rate_hz))
    num_kept = None if duration_s is None else round(duration_s * rate_hz)
    yield from part(_decoded(file), num_dropped, num_kept)


def _decoded(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
  while True:
    with _messages_discarded():
      block = file.read(
        block_frames(file.channels), dtype='float32', always_2d=True
      )
    if not len(block):
      return
    yield block


def _seek(file: soundfile.SoundFile, frame: int) -> int:
  """Seeks, and returns how many frames must still be dropped."""
  if frame and file.seekable():
    try:
      with _messages_discarded():
        file.seek(frame)
      return 0
    except soundfile.LibsndfileError:
      file.seek(0)
  return frame


class _CStderr:
  """Points C's variable `stderr` at the null device while anyone needs that.

  libmpg123, inside libsndfile, prints warnings about damaged MP3s to C's
  standard error and has no option to disable them. Python's `sys.stderr` does
  not use that variable and is unaffected.
  """

  def __init__(self):
    self._lock = threading.Lock()
    self._num_users = 0
    name = '__stderrp' if sys.platform == 'darwin' else 'stderr'
    self._variable = self._null = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
      c_library = ctypes.CDLL(None)
      c_library.fopen.restype = ctypes.c_void_p
      variable = ctypes.c_void_p.in_dll(c_library, name)
      self._null = c_library.fopen(os.devnull.encode(), b'w')
      self._variable = variable if self._null else None
    self._own = self._variable.value if self._variable else None

  def discard(self) -> None:
    """Discards what C prints until a matching call of `restore`."""
    with self._lock:
      self._num_users += 1
      if self._variable and self._num_users == 1:
        self._variable.value = self._null

  def restore(self) -> None:
    """Undoes one `discard`."""
    with self._lock:
      self._num_users -= 1
      if self._variable and self._num_users == 0:
        self._variable.value = self._own


_c_stderr = _CStderr()


@contextlib.contextmanager
def _messages_discarded() -> Iterator[None]:
  _c_stderr.discard()
  try:
    yield
  finally:
    _c_stderr.restore()
