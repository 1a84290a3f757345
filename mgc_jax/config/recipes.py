"""Settings that several config files share."""

from ml_collections import ConfigDict

from mgc_jax.config.schema import ENCODERS, base_config


def recipe_config() -> ConfigDict:
  """Returns the settings of our three models; docs/RESULTS.md explains them.

  There are 12.9 frames per second, 387 in an excerpt of 30 s. The range of
  values is that of each excerpt. Windows are 7.4 s long.
  """
  config = base_config()
  config.features.hop_samples = 512
  config.features.frames_per_s = 12.9
  config.features.max_frames = 387
  config.features.scaling = 'range'
  config.features.excerpt_s = 31.0
  config.windows.num_frames = 96
  config.windows.hop_frames = 48
  config.windows.num_windows = 4
  config.windows.standardise = 'excerpt'
  config.augment.crop = 'scattered'
  config.augment.max_shift_bands = 3
  config.augment.gain_db = 0.0
  config.augment.filter_db = 6.0
  config.augment.mixup_alpha = 0.0
  config.model.cnn.filters = (24, 48, 72, 96, 96)
  config.model.cnn.norm = 'batch_after_pool'
  config.model.dense.sizes = (56,)
  config.train.num_epochs = 40
  config.train.evaluate_every_epochs = 5
  config.train.batch_size = 16
  config.train.learning_rate = 4e-3
  config.train.warmup_epochs = 4.0
  config.train.weight_decay = 1e-2
  return config


def sparse_config() -> ConfigDict:
  """Returns the settings of a CNN on single frames, about 4.3 per second.

  Collections that are published as such frames can be combined. Windows have 64
  frames, 15 s; each epoch takes one from each excerpt.
  """
  config = recipe_config()
  config.data.source = 'manifest'
  config.data.manifest = 'manifest.csv'
  config.features.max_frames = 129
  config.features.excerpt_s = 30.0
  config.windows.num_frames = 64
  config.windows.hop_frames = 32
  config.windows.num_windows = 1
  config.train.batch_size = 32
  config.train.num_epochs = 16
  config.train.evaluate_every_epochs = 4
  config.train.warmup_epochs = 1.0
  return config


def encoder_config(extractor: str = 'musicnn') -> ConfigDict:
  """Returns the settings of an LSTM on the frames of a pretrained encoder.

  There is about one frame per second, 28 in an excerpt of 30 s. Windows have 10
  frames; docs/RESULTS.md has the other settings that were tried.

  Args:
    extractor: a key of `schema.ENCODERS`.
  """
  config = base_config()
  config.features.extractor = extractor
  config.features.update(ENCODERS[extractor])
  config.windows.num_frames = 10
  config.windows.hop_frames = 9
  config.windows.num_windows = 3
  config.augment.crop = 'scattered'
  config.augment.gain_db = 0.0
  config.augment.num_time_masks = 0
  config.augment.num_band_masks = 0
  config.augment.mixup_alpha = 0.4
  config.model.name = 'lstm'
  config.model.lstm.hidden_size = 32
  config.model.lstm.stack_frames = 1
  config.model.lstm.readout = 'mean'
  config.model.lstm.stateful = False
  config.train.num_epochs = 30
  config.train.batch_size = 16
  return config


def baseline_config() -> ConfigDict:
  """Returns the settings of the three baseline networks.

  Windows are those of the baseline, and an epoch uses each of them once. The
  input of the published networks was power; here it is decibels.
  """
  config = base_config()
  config.data.examples = 'window'
  config.features.fft_samples = 1024
  config.features.hop_samples = 512
  config.windows.num_frames = 258  # 5.99 s, half overlapping
  config.windows.hop_frames = 129
  config.windows.num_windows = 1
  config.augment.gain_db = 0.0
  config.augment.num_time_masks = 0
  config.augment.num_band_masks = 0
  config.augment.mixup_alpha = 0.0
  config.model.cnn.filters = (32, 32, 64, 128, 128)
  config.model.cnn.padding = 'VALID'
  config.model.cnn.pool_frames = (2, 2, 2, 2, 3)
  config.model.cnn.pool_bands = (2, 2, 2, 2, 3)
  config.model.cnn.dropout = (0.25,) * 5
  config.model.cnn.activation = 'elu'
  config.model.cnn.norm = 'none'
  config.model.cnn.readout = 'flatten'
  config.model.lstm.stateful = False
  config.model.lstm.output_dropout = 0.0
  config.model.lstm.readout = 'flatten'
  config.model.dense.sizes = (150, 100, 50, 20)
  config.model.dense.dropout = (0.25,) * 4
  config.model.dense.activation = 'elu'
  config.train.batch_size = 128  # windows
  config.train.optimizer = 'adam'
  config.train.learning_rate = 1e-3
  config.train.schedule = 'constant'
  config.train.warmup_epochs = 0.0
  config.train.clip_norm = 0.0
  config.train.label_smoothing = 0.0
  config.train.num_epochs = 100
  config.train.select = 'last'
  return config
