"""A tiny CRNN on a tiny corpus, to test the whole path in under a minute.

python -m mgc_jax.main --config=configs/smoke.py
"""

from mgc_jax.config import ConfigDict, base_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = base_config()
  config.data.synthetic.num_artists = 4
  config.data.synthetic.tracks_per_artist = 1
  config.data.synthetic.duration_s = 6.0
  config.features.sample_rate_hz = 8000
  config.features.max_frequency_hz = 4000.0
  config.features.fft_samples = 512
  config.features.hop_samples = 512
  config.features.num_bands = 32
  config.windows.num_frames = 32
  config.windows.hop_frames = 16
  config.windows.num_windows = 3
  config.model.name = 'crnn'
  config.model.cnn.filters = (8, 16)
  config.model.cnn.pool_frames = (2, 2)
  config.model.cnn.pool_bands = (2, 2)
  config.model.cnn.dropout = (0.0, 0.1)
  config.model.lstm.hidden_size = 16
  config.model.lstm.readout = 'last'
  config.train.num_epochs = 2
  return config
