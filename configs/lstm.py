"""LSTM over the frames of an excerpt; its state crosses windows.

In three folds over artists of 639 tracks of GTZAN it finds the genre of 62.1 %
(docs/RESULTS.md, with the commands).

python -m mgc_jax.main --config=configs/lstm.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import recipe_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = recipe_config()
  config.windows.hop_frames = 96  # its state is handed on: one after another
  config.augment.mixup_alpha = 0.3
  config.model.name = 'lstm'
  config.model.num_members = 4
  config.model.lstm.frames_per_step = 2
  config.model.lstm.differences = True
  config.model.lstm.encoder_size = 128
  config.model.lstm.encoder_dropout = 0.1
  config.model.lstm.hidden_size = 64
  config.model.lstm.recurrent_dropout = 0.2
  config.model.lstm.output_dropout = 0.3
  config.train.batch_size = 64  # 16 of each member
  config.train.num_epochs = 60
  return config
