import librosa
import numpy as np
import pytest

from mgc_jax import features
from mgc_jax.config import base_config


def _librosa(waveform, settings):
  mel = librosa.feature.melspectrogram(
    y=waveform,
    sr=settings.sample_rate_hz,
    n_fft=settings.fft_samples,
    hop_length=settings.hop_samples,
    n_mels=settings.num_bands,
    fmin=settings.min_frequency_hz,
    fmax=settings.max_frequency_hz,
  )
  return librosa.power_to_db(mel, top_db=settings.dynamic_range_db).T


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
def test_equals_librosa(overrides, num_samples):
  settings = base_config().features
  settings.update(overrides)
  rng = np.random.default_rng(0)
  waveform = rng.normal(size=num_samples).astype(np.float32)
  waveform *= np.linspace(1e-5, 1.0, num_samples)
  found = features.log_mel(waveform.astype(np.float32), settings)
  wanted = _librosa(waveform.astype(np.float32), settings)
  assert found.shape == wanted.shape
  assert found.dtype == np.float32
  allowed = 1e-4 * settings.dynamic_range_db
  np.testing.assert_allclose(found, wanted, atol=allowed)


def test_number_of_frames():
  settings = base_config().features
  frames = features.log_mel(np.ones(5000, np.float32), settings)
  assert frames.shape == (1 + 5000 // 1024, 128)
