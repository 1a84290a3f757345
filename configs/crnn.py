"""CRNN: the CNN on each window, then an LSTM over the time steps left of it.

Track accuracy on GTZAN's fault-filtered test list: 65.5 %, trained on its other
639 tracks (docs/RESULTS.md, with the commands).

python -m mgc_jax.main --config=configs/crnn.py
"""

from mgc_jax.config import ConfigDict
from mgc_jax.config.recipes import recipe_config


def get_config() -> ConfigDict:
  """Returns the configuration."""
  config = recipe_config()
  # A batch consists of single windows, from as many tracks as possible.
  config.data.examples = 'window'
  config.windows.num_windows = 1
  config.windows.standardise = 'window'
  config.model.name = 'crnn'
  config.model.cnn.pool_frames = (2, 2, 2, 1, 1)
  config.model.cnn.readout = 'step_means'  # 12 steps per window
  config.model.lstm.stateful = False
  config.model.lstm.hidden_size = 96
  config.model.lstm.output_dropout = 0.3
  config.train.batch_size = 64
  config.train.num_epochs = 15
  return config
