import numpy as np
import pytest

from mgc_jax.audio import log_mel
from mgc_jax.config.schema import base_config, frame_rate_hz
from tests.reference import librosa


def _librosa(waveform, settings):
  mel = librosa().feature.melspectrogram(
    y=waveform,
    sr=settings.sample_rate_hz,
    n_fft=settings.fft_samples,
    hop_length=settings.hop_samples,
    n_mels=settings.num_bands,
    fmin=settings.min_frequency_hz,
    fmax=settings.max_frequency_hz,
  )
  return librosa().power_to_db(mel, top_db=settings.dynamic_range_db).T


@pytest.mark.parametrize(
  'overrides',
  [
    {},
    {'fft_samples': 1024, 'hop_samples': 512, 'num_bands': 64},
    {'min_frequency_hz': 300.0, 'max_frequency_hz': 8000.0},
    {'dynamic_range_db': 40.0},
  ],
)
@pytest.mark.filterwarnings('ignore:n_fft')
@pytest.mark.parametrize('num_samples', [1, 700, 30_001])
def test_log_mel_equals_librosa(overrides, num_samples):
  settings = base_config().features
  settings.update(overrides)
  rng = np.random.default_rng(0)
  waveform = rng.normal(size=num_samples).astype(np.float32)
  waveform *= np.linspace(1e-5, 1.0, num_samples)
  found = log_mel.log_mel(waveform.astype(np.float32), settings)
  wanted = _librosa(waveform.astype(np.float32), settings)
  assert found.shape == wanted.shape
  assert found.dtype == np.float32
  allowed = 1e-4 * settings.dynamic_range_db
  np.testing.assert_allclose(found, wanted, atol=allowed)


def test_number_of_frames_follows_from_the_hop():
  settings = base_config().features
  frames = log_mel.log_mel(np.ones(5000, np.float32), settings)
  assert frames.shape == (1 + 5000 // 1024, 128)


def _noise(seconds, rate_hz=22050):
  return np.random.default_rng(0).normal(size=round(seconds * rate_hz))


def test_evenly_spaced_frames_are_kept():
  settings = base_config().features
  settings.hop_samples = 512
  every = log_mel.log_mel(_noise(30.0), settings)
  settings.frames_per_s = 12.9
  kept = log_mel.log_mel(_noise(30.0), settings)
  assert frame_rate_hz(settings) == 12.9 and len(kept) == 387
  places = [int((c + 0.55) * (len(every) - 2) / 387) for c in range(387)]
  np.testing.assert_array_equal(kept, every[places])
  settings.max_frames = 387
  assert len(log_mel.log_mel(_noise(30.6), settings)) == 387
  assert len(log_mel.log_mel(_noise(20.0), settings)) == 258


@pytest.mark.parametrize('num_samples', [1, 400, 1100, 2000, 40_000])
def test_number_of_kept_frames_is_bounded(num_samples):
  settings = base_config().features
  settings.frames_per_s = 12.9
  waveform = _noise(2.0)[:num_samples]
  kept = log_mel.log_mel(waveform, settings)
  assert len(kept) == max(1, round(num_samples / 22050 * 12.9))
  settings.frames_per_s = 1000.0
  assert len(log_mel.log_mel(waveform, settings)) == 1 + num_samples // 1024
  assert frame_rate_hz(settings) == 22050 / 1024


def test_scaling_by_range_is_independent_of_level():
  settings = base_config().features
  settings.scaling = 'range'
  quiet, loud = (
    log_mel.log_mel(_noise(1.0) * level, settings) for level in (0.01, 0.5)
  )
  np.testing.assert_allclose(quiet, loud, atol=1e-3)
  # Noise spans about 40 dB and is stretched to the whole range.
  assert quiet.max() == 0.0 and quiet.min() == pytest.approx(-80.0, abs=1e-3)


def test_scaling_by_range_clips_larger_ranges():
  settings = base_config().features
  waveform = _noise(1.0) * np.geomspace(1e-6, 1.0, 22050)
  plain = log_mel.log_mel(waveform, settings)
  settings.scaling = 'range'
  scaled = log_mel.log_mel(waveform, settings)
  np.testing.assert_allclose(scaled, plain - plain.max(), atol=1e-3)


def test_silence_is_scaled_to_a_finite_value():
  settings = base_config().features
  settings.scaling = 'range'
  assert (log_mel.log_mel(np.zeros(9000), settings) == 0.0).all()


def test_mel_frequencies_equal_librosa():
  found_hz = log_mel.mel_frequencies_hz(40, 20.0, 11025.0)
  wanted_hz = librosa().mel_frequencies(40, fmin=20.0, fmax=11025.0)
  np.testing.assert_allclose(found_hz, wanted_hz, rtol=1e-9)
