"""LSTM over the frames of an excerpt; its state is kept between windows.

Track accuracy on GTZAN's fault-filtered test list: 56.9 %, trained on its other
639 tracks (docs/RESULTS.md, with the commands).

python -m mgc_jax.main --config=configs/lstm.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import recipe_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = recipe_config()
  config.windows.hop_frames = 96  # no overlap, as the state is kept
  config.augment.mixup_alpha = 0.3
  config.model.name = 'lstm'
  config.model.num_members = 4
  config.model.lstm.stack_frames = 2
  config.model.lstm.deltas = True
  config.model.lstm.encoder_size = 128
  config.model.lstm.encoder_dropout = 0.1
  config.model.lstm.hidden_size = 64
  config.model.lstm.recurrent_dropout = 0.2
  config.model.lstm.output_dropout = 0.3
  config.train.batch_size = 64  # 16 for each member
  config.train.num_epochs = 60
  return config
