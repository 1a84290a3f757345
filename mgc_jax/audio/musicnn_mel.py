"""Computes the log-mel frames that the network musicnn was trained on."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from mgc_jax.audio.log_mel import compressed, mel_filterbank, mel_power

SAMPLE_RATE_HZ = 16000
NUM_FRAMES = 187  # of a window: 3 s
HOP_FRAMES = 61  # from the start of a window to the start of the next
NUM_BANDS = 96

_FFT_SAMPLES = 512
_HOP_SAMPLES = 256
_EDGE = np.zeros(_FFT_SAMPLES // 2, np.float32)  # frames are centred


def frames(
  blocks: Iterable[np.ndarray], num_windows: int
) -> Iterator[np.ndarray]:
  """Yields the frames of a track's windows, `num_windows` at a time.

  The memory that it takes does not depend on the length of the track.

  A window starts every 0.976 s, and the last one ends less than that before
  the end of the track. A track that is shorter than a window is repeated.

  Args:
    blocks: f32[n] mono at `SAMPLE_RATE_HZ`, one after another.
    num_windows: how many windows the frames yielded at a time have; the last
      time fewer.

  Yields:
    f32[L, F] log10(1 + 10,000 power), of W windows: L is
    (W - 1) `HOP_FRAMES` + `NUM_FRAMES`.
  """
  needed = _num_samples(num_windows)
  used = num_windows * HOP_FRAMES * _HOP_SAMPLES
  num_yielded, sound = 0, _EDGE
  for block in itertools.chain(blocks, [_EDGE]):
    sound = np.concatenate([sound, block])
    while len(sound) >= needed:
      yield _frames(sound[:needed])
      num_yielded += num_windows
      sound = sound[used:]
  if not num_yielded and len(sound) < _num_samples(1):
    sound = _repeated(sound[len(_EDGE) : -len(_EDGE)])
  if len(sound) >= _num_samples(1):
    yield _frames(sound)


def _num_samples(num_windows: int) -> int:
  """Returns how many samples the frames of windows span."""
  num_frames = (num_windows - 1) * HOP_FRAMES + NUM_FRAMES
  return (num_frames - 1) * _HOP_SAMPLES + _FFT_SAMPLES


def _repeated(sound: np.ndarray) -> np.ndarray:
  """Repeats f32[n] until it fills a window; silence if there is none."""
  length = _num_samples(1) - 2 * len(_EDGE)
  sound = np.resize(sound, length) if len(sound) else np.zeros(length)
  return np.concatenate([_EDGE, sound.astype(np.float32), _EDGE])


def _frames(sound: np.ndarray) -> np.ndarray:
  """Maps f32[n], not padded, to f32[L, F], the frames of whole windows."""
  nyquist_hz = SAMPLE_RATE_HZ / 2
  filterbank = mel_filterbank(
    SAMPLE_RATE_HZ, _FFT_SAMPLES, NUM_BANDS, 0.0, nyquist_hz
  )
  found = compressed(mel_power(sound, _HOP_SAMPLES, filterbank))
  return found[: len(found) - (len(found) - NUM_FRAMES) % HOP_FRAMES]
