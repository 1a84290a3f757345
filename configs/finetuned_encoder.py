"""musicnn, a pretrained encoder, trained further with a head for genres.

Track accuracy on the four genres of Emotify, in five folds over artists:
70.0 %, no better than an LSTM on the encoder as it is (docs/RESULTS.md).

python -m mgc_jax.main --config=configs/finetuned_encoder.py
"""

from mgc_jax.config import ConfigDict, base_config
from mgc_jax.config.schema import MUSICNN_INPUT


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = base_config()
  config.update_from_flattened_dict(MUSICNN_INPUT)
  config.windows.num_frames = 187  # 3 s
  config.windows.hop_frames = 187
  config.windows.num_windows = 2
  config.augment.crop = 'scattered'
  config.augment.gain_db = 0.0
  config.augment.mixup_alpha = 0.0
  config.augment.num_time_masks = 0
  config.augment.num_band_masks = 0
  config.model.name = 'musicnn'
  config.model.dense.sizes = ()
  config.model.dense.dropout = ()
  config.train.batch_size = 16
  config.train.num_epochs = 10
  config.train.evaluate_every_epochs = 5
  config.train.learning_rate = 3e-4
  return config
