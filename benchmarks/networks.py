"""The six networks that are timed: the baseline's three and ours."""

import importlib

from ml_collections import ConfigDict

NAMES = (
  'baseline/cnn',
  'baseline/lstm',
  'baseline/crnn',
  'cnn',
  'lstm',
  'crnn',
)


def network_config(name: str, toy: bool = False) -> ConfigDict:
  """Returns a configuration of a network without augmentation.

  Args:
    name: one of `NAMES`; the configuration is `configs/<name>.py`.
    toy: whether to make the network tiny.

  Returns:
    The configuration, with consecutive windows, no augmentation and a constant
    learning rate. Ensembles and preprocessing of the LSTM's input are disabled,
    because the networks in other frameworks have neither.
  """
  config = importlib.import_module(f'configs.{name.replace("/", ".")}')
  config = config.get_config()
  config.windows.hop_frames = config.windows.num_frames
  config.augment.update(
    crop='grid',
    max_speed=1.0,
    max_shift_bands=0,
    gain_db=0.0,
    filter_db=0.0,
    num_time_masks=0,
    num_band_masks=0,
    mixup_alpha=0.0,
  )
  config.train.batch_size //= config.model.num_members
  config.model.num_members = 1
  config.model.lstm.encoder_size = 0
  config.model.lstm.deltas = False
  config.train.schedule = 'constant'
  config.train.warmup_epochs = 0.0
  if toy:
    config.train.batch_size = 4
    # Pools do not divide these, so that what they cut off is compared, too.
    config.features.num_bands = 27
    config.windows.num_frames = config.windows.hop_frames = 25
    config.model.cnn.filters = (4, 5)
    for name in ('pool_frames', 'pool_bands', 'dropout'):
      values = config.model.cnn[name]
      config.model.cnn[name] = values[0], values[-1]
    config.model.lstm.hidden_size = 9
  return config


def batch_shape(config: ConfigDict) -> tuple[int, int, int, int]:
  """Returns (B, W, T, F) of a batch of windows."""
  windows = config.windows
  return (
    config.train.batch_size,
    windows.num_windows,
    windows.num_frames,
    config.features.num_bands,
  )
