"""The properties that an audio file states: sample rate, channels, length."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class AudioInfo:
  """What is known about a file before anything is decoded.

  Attributes:
    sample_rate_hz: the file's own, before resampling.
    num_channels: the file's own, before mixing to mono.
    duration_s: the stated length; 0 if none is stated.
    is_exact: whether the length is a sample count. Only such a length can show
      that a file is truncated; others are estimates from a bit rate.
    reader: `sndfile` or `ffmpeg`, whichever reads the whole file.
    start_s: when the sound starts in its container (ffmpeg only).
    is_cut: whether the file visibly ends too early.
    fault: what is visibly wrong with the file; empty if nothing is.
  """

  sample_rate_hz: int
  num_channels: int
  duration_s: float
  is_exact: bool
  reader: str
  start_s: float = 0.0
  is_cut: bool = False
  fault: str = ''
