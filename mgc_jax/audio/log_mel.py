"""Computes log-mel frames from waveforms; the only module that does.

The definition is librosa's (`melspectrogram`, then `power_to_db`): centred
frames, a periodic Hann window, Slaney's mel scale and area normalisation.
librosa itself is not imported, because its first call compiles for seconds,
which is too long for someone who waits for one prediction.
"""

import functools
from typing import Any

import numpy as np

from mgc_jax.config.schema import FeaturesConfig

_AMIN_POWER = 1e-10  # librosa's floor, -100 dB
_COMPRESSION = 10000.0  # of the power, before the logarithm
# Slaney's Auditory Toolbox: linear below 1 kHz, logarithmic above.
_LINEAR_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def log_mel(waveform: np.ndarray, features: FeaturesConfig) -> np.ndarray:
  """Computes log-mel frames.

  Args:
    waveform: f32[L] mono at `features.sample_rate_hz`.
    features: `config.features`.

  Returns:
    f32[N, F] in dB, clipped at `features.dynamic_range_db` below the maximum.
    N is 1 + L // hop_samples, or fewer if `features.frames_per_s` is set. If
    `features.scaling` is full_scale, 0 dB is full-scale power. If it is range,
    0 dB is the waveform's maximum, and its minimum is stretched to the whole
    range. If it is compressed, the values are not dB; see `compressed`.
  """
  n_fft, hop = features.fft_samples, features.hop_samples
  padded = np.pad(waveform.astype(np.float32, copy=False), n_fft // 2)
  if len(padded) < n_fft:
    padded = np.pad(padded, (0, n_fft - len(padded)))
  filterbank = mel_filterbank(
    features.sample_rate_hz,
    n_fft,
    features.num_bands,
    features.min_frequency_hz,
    features.max_frequency_hz,
  )
  mel = mel_power(padded, hop, filterbank)
  kept = _kept(len(mel), len(waveform), features)
  if features.scaling == 'compressed':
    return compressed(mel[kept]).astype(np.float32)
  decibels = 10.0 * np.log10(np.maximum(mel, _AMIN_POWER))
  range_db, top_db = features.dynamic_range_db, decibels.max()
  decibels = np.maximum(decibels, top_db - range_db)
  if features.scaling == 'range':
    span_db = top_db - decibels.min()
    # Silence has the same value everywhere and cannot be stretched.
    decibels = (decibels - top_db) * (range_db / span_db if span_db else 1.0)
  return decibels[kept].astype(np.float32)


def compressed(power: np.ndarray) -> np.ndarray:
  """Returns f[...] log10(1 + 10,000 power), the input of musicnn."""
  return np.log10(1.0 + _COMPRESSION * power)


def mel_power(
  padded: np.ndarray, hop_samples: int, filterbank: np.ndarray
) -> np.ndarray:
  """Returns f32[N, F], the power in mel bands of frames that are not padded.

  Args:
    padded: f32[L], at least one frame.
    hop_samples: from the start of a frame to the start of the next.
    filterbank: f32[1 + fft_samples // 2, F], made by `mel_filterbank`.
  """
  import scipy.fft  # takes a third of a second, and reading configs needs none

  n_fft = 2 * (len(filterbank) - 1)
  frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)
  frames = frames[::hop_samples]
  # Any: SciPy's annotation does not say that this is an array.
  spectrum: Any = scipy.fft.rfft(frames * _hann(n_fft), axis=1)
  return (spectrum.real**2 + spectrum.imag**2) @ filterbank


def _kept(
  num_frames: int, num_samples: int, features: FeaturesConfig
) -> np.ndarray:
  """Returns i64[kept], the indices of evenly spaced frames.

  Kept frame c of n is floor((c + 0.55) * (N - 2) / n): the middle of its share
  of the excerpt.
  """
  rate = features.frames_per_s
  count = num_frames
  if rate:
    count = max(1, round(num_samples / features.sample_rate_hz * rate))
  count = min(count, features.max_frames or count)
  if count >= num_frames:
    return np.arange(num_frames)
  places = (np.arange(count) + 0.55) * (num_frames - 2) / count
  return np.maximum(0, places).astype(int)


@functools.cache
def mel_filterbank(
  sample_rate_hz: int,
  fft_samples: int,
  num_bands: int,
  min_frequency_hz: float,
  max_frequency_hz: float,
) -> np.ndarray:
  """Returns f32[1 + fft_samples // 2, F], like `librosa.filters.mel(...).T`."""
  bins_hz = np.fft.rfftfreq(fft_samples, 1.0 / sample_rate_hz)
  edges_hz = mel_frequencies_hz(
    num_bands + 2, min_frequency_hz, max_frequency_hz
  )
  widths_hz = np.diff(edges_hz)
  ramps = edges_hz[None, :] - bins_hz[:, None]
  rising = -ramps[:, :-2] / widths_hz[:-1]
  falling = ramps[:, 2:] / widths_hz[1:]
  triangles = np.maximum(0.0, np.minimum(rising, falling))
  area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
  return (triangles * area).astype(np.float32)


def mel_frequencies_hz(
  count: int, min_frequency_hz: float, max_frequency_hz: float
) -> np.ndarray:
  """Returns f64[count], frequencies in Hz that are evenly spaced in mel.

  Args:
    count: number of frequencies, the first and the last included.
    min_frequency_hz: the first.
    max_frequency_hz: the last.
  """
  return _mel_to_hz(
    np.linspace(
      _hz_to_mel(min_frequency_hz), _hz_to_mel(max_frequency_hz), count
    )
  )


@functools.cache
def _hann(num_samples: int) -> np.ndarray:
  phase = 2.0 * np.pi * np.arange(num_samples) / num_samples
  return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def _hz_to_mel(frequency_hz: float) -> float:
  if frequency_hz < _BREAK_HZ:
    return frequency_hz / _LINEAR_HZ_PER_MEL
  return _BREAK_MEL + np.log(frequency_hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mels: np.ndarray) -> np.ndarray:
  linear = mels * _LINEAR_HZ_PER_MEL
  logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL))
  return np.where(mels < _BREAK_MEL, linear, logarithmic)
