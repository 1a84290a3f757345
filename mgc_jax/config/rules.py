"""What a valid configuration is: choices, ranges, and combinations."""

from collections.abc import Callable

from ml_collections import ConfigDict

from mgc_jax.system.errors import ConfigError

ACTIVATIONS = ('relu', 'elu', 'gelu', 'silu', 'tanh')
SPLITS = ('train', 'valid', 'test')
_OF_STEPS = ('steps', 'step_means')

CHOICES = {
  'data.examples': ('excerpt', 'window'),
  'data.on_leak': ('stop', 'drop', 'warn'),
  'data.on_damage': ('auto', 'warn', 'skip'),
  'data.cache': ('auto', 'device', 'none'),
  'data.subset': ('small', 'medium', 'large', 'full'),
  'data.protocol': (None, 'given', 'artist', 'track', 'window'),
  'features.scaling': ('full_scale', 'range'),
  'features.excerpts': ('middle', 'all'),
  'windows.standardise': ('bands', 'excerpt', 'window'),
  'augment.crop': ('grid', 'shifted', 'scattered'),
  'model.name': ('cnn', 'lstm', 'crnn'),
  'model.dtype': ('float32', 'bfloat16'),
  'model.cnn.padding': ('SAME', 'VALID'),
  'model.cnn.activation': ACTIVATIONS,
  'model.cnn.norm': ('batch', 'batch_after_pool', 'none'),
  'model.cnn.readout': ('mean_max', 'mean', 'flatten', *_OF_STEPS),
  'model.lstm.readout': ('mean_max', 'mean', 'last', 'flatten'),
  'model.dense.activation': ACTIVATIONS,
  'train.optimizer': ('adamw', 'adam'),
  'train.schedule': ('cosine', 'constant'),
  'train.select': ('best', 'last'),
}


_Rule = tuple[Callable, str]
_MAX_LAYERS = 64
_MAX_SPECTRUM_VALUES = 2**29  # of an excerpt: 4 GiB as complex numbers


def _at_least(low: float) -> _Rule:
  return (lambda x: x >= low), f'at least {low}'


def _between(low: float, high: float) -> _Rule:
  return (lambda x: low <= x < high), f'at least {low} and under {high}'


def _each(kind: type, low: float, high: float) -> _Rule:
  def holds(xs: tuple) -> bool:
    return len(xs) <= _MAX_LAYERS and all(
      isinstance(x, int | kind) and type(x) is not bool and low <= x < high
      for x in xs
    )

  wish = f'{kind.__name__}s, each at least {low} and under {high}'
  return holds, f'at most {_MAX_LAYERS} {wish}'


_POSITIVE: _Rule = (lambda x: 0 < x < 1e12), 'positive and finite'
_RATE = _between(0, 1)
_SIZES = _each(int, 1, 100_000)
_RATES = _each(float, 0, 1)

RULES: dict[str, _Rule] = {
  'seed': _between(0, 2**32),
  'data.split_seed': _between(0, 2**32),
  'data.valid_fraction': _between(0, 1),
  'data.test_fraction': _between(0, 1),
  'data.num_folds': _between(0, 10**6),
  'data.fold': _between(0, 10**6),
  'data.num_workers': _between(0, 10**4),
  'data.min_duration_s': _between(0, 3600),
  'data.synthetic.num_artists': _between(1, 10**6),
  'data.synthetic.tracks_per_artist': _between(1, 10**6),
  'data.synthetic.duration_s': _between(1, 3600),
  'features.sample_rate_hz': _between(1000, 400_000),
  'features.fft_samples': _between(16, 2**20),
  'features.hop_samples': _between(1, 2**20),
  'features.frames_per_s': _between(0, 10**6),
  'features.max_frames': _between(0, 10**7),
  'features.num_bands': _between(1, 4096),
  'features.min_frequency_hz': _at_least(0),
  'features.max_frequency_hz': _POSITIVE,
  'features.dynamic_range_db': _POSITIVE,
  'features.excerpt_s': _between(0.1, 3600),
  'windows.num_frames': _between(1, 10**7),
  'windows.hop_frames': _between(1, 10**7),
  'windows.num_windows': _between(1, 10**6),
  'augment.gain_db': _between(0, 1000),
  'augment.filter_db': _between(0, 1000),
  'augment.max_shift_bands': _between(0, 10**4),
  'augment.max_speed': _between(1, 10),
  'augment.num_time_masks': _between(0, 10**3),
  'augment.max_time_mask_frames': _between(0, 10**7),
  'augment.num_band_masks': _between(0, 10**3),
  'augment.max_band_mask_bands': _between(0, 10**4),
  'augment.mixup_alpha': _between(0, 1000),
  'model.num_genres': _between(2, 10**5),
  'model.num_members': _between(1, 100),
  'model.cnn.fold_frames': _between(1, 10**3),
  'model.cnn.fold_bands': _between(1, 10**3),
  'model.cnn.filters': _SIZES,
  'model.cnn.kernel_size': _between(1, 10**3),
  'model.cnn.pool_frames': _SIZES,
  'model.cnn.pool_bands': _SIZES,
  'model.cnn.dropout': _RATES,
  'model.lstm.hidden_size': _between(1, 10**5),
  'model.lstm.frames_per_step': _between(1, 10**6),
  'model.lstm.encoder_size': _between(0, 10**5),
  'model.lstm.encoder_dropout': _RATE,
  'model.lstm.input_dropout': _RATE,
  'model.lstm.recurrent_dropout': _RATE,
  'model.lstm.output_dropout': _RATE,
  'model.dense.sizes': _SIZES,
  'model.dense.dropout': _RATES,
  'train.num_epochs': _between(1, 10**7),
  'train.batch_size': _between(1, 10**6),
  'train.accumulate_steps': _between(1, 10**6),
  'train.learning_rate': _POSITIVE,
  'train.warmup_epochs': _between(0, 1e6),
  'train.weight_decay': _between(0, 1e6),
  'train.clip_norm': _between(0, 1e12),
  'train.ema_decay': _RATE,
  'train.label_smoothing': _RATE,
  'train.checkpoint_every_steps': _between(0, 10**9),
  'train.evaluate_every_epochs': _between(1, 10**9),
  'train.patience_epochs': _between(0, 10**9),
  'eval.batch_size': _between(1, 10**6),
  'eval.num_bootstrap': _between(100, 10**7),
}


def _check_splits(config: ConfigDict) -> None:
  data = config.data
  if data.num_folds == 1:
    raise ConfigError('config.data.num_folds=1: must be 0, or at least 2')
  if data.num_folds and data.fold >= data.num_folds:
    raise ConfigError(
      f'config.data.fold={data.fold}: must be under '
      f'config.data.num_folds={data.num_folds}'
    )
  if data.num_folds and data.protocol == 'given':
    raise ConfigError(
      f'config.data.num_folds={data.num_folds}: given splits have no folds; '
      'set config.data.protocol to artist or track'
    )
  if data.valid_fraction + data.test_fraction >= 1:
    raise ConfigError(
      f'config.data.valid_fraction={data.valid_fraction} and test_fraction='
      f'{data.test_fraction}: nothing is left for training'
    )
  names = (data.eval_split or 'test').split(',')
  if len(set(names)) < len(names) or not set(names) <= set(SPLITS):
    raise ConfigError(
      f'config.data.eval_split={data.eval_split}: must be one or several of '
      + ', '.join(SPLITS)
    )


def _check_features(config: ConfigDict) -> None:
  features, windows = config.features, config.windows
  if features.max_frequency_hz > features.sample_rate_hz / 2:
    raise ConfigError(
      f'config.features.max_frequency_hz={features.max_frequency_hz}: over '
      f'half of config.features.sample_rate_hz={features.sample_rate_hz}'
    )
  if features.min_frequency_hz >= features.max_frequency_hz:
    raise ConfigError(
      f'config.features.min_frequency_hz={features.min_frequency_hz}: not '
      f'under max_frequency_hz={features.max_frequency_hz}'
    )
  num_frames = 1 + int(
    features.excerpt_s * features.sample_rate_hz / features.hop_samples
  )
  if num_frames * features.fft_samples > _MAX_SPECTRUM_VALUES:
    raise ConfigError(
      f'config.features.excerpt_s={features.excerpt_s}: {num_frames} frames of '
      f'config.features.fft_samples={features.fft_samples} do not fit into '
      'memory; use config.features.excerpts=all with shorter ones'
    )
  num_frames = 1 + int(features.excerpt_s * frame_rate_hz(features))
  num_frames = min(num_frames, features.max_frames or num_frames)
  if windows.num_frames > num_frames:
    raise ConfigError(
      f'config.windows.num_frames={windows.num_frames}: longer than an '
      f'excerpt ({num_frames} frames in config.features.excerpt_s)'
    )


def _check_model(config: ConfigDict) -> None:
  cnn, dense, lstm = config.model.cnn, config.model.dense, config.model.lstm
  if not cnn.filters:
    raise ConfigError('config.model.cnn.filters=(): needs one block at least')
  steps = config.model.name == 'lstm' and not lstm.bands_as_steps
  if steps and lstm.frames_per_step > config.windows.num_frames:
    raise ConfigError(
      f'config.model.lstm.frames_per_step={lstm.frames_per_step}: more than '
      f'config.windows.num_frames={config.windows.num_frames}'
    )
  for name in ('pool_frames', 'pool_bands', 'dropout'):
    if len(cnn[name]) != len(cnn.filters):
      raise ConfigError(
        f'config.model.cnn.{name}={cnn[name]}: needs one number for each of '
        f'config.model.cnn.filters={cnn.filters}'
      )
  if len(dense.dropout) != len(dense.sizes):
    raise ConfigError(
      f'config.model.dense.dropout={dense.dropout}: needs one number for each '
      f'of config.model.dense.sizes={dense.sizes}'
    )
  if cnn.readout in _OF_STEPS and config.model.name == 'cnn':
    raise ConfigError(
      f'config.model.cnn.readout={cnn.readout}: for a crnn only'
    )


def _check_training(config: ConfigDict) -> None:
  train = config.train
  if train.batch_size % train.accumulate_steps:
    raise ConfigError(
      f'config.train.accumulate_steps={train.accumulate_steps}: must divide '
      f'config.train.batch_size={train.batch_size}'
    )
  if train.patience_epochs % train.evaluate_every_epochs:
    raise ConfigError(
      f'config.train.patience_epochs={train.patience_epochs}: must be a '
      'multiple of config.train.evaluate_every_epochs='
      f'{train.evaluate_every_epochs}, or 0'
    )
  if train.freeze_body and not train.init_from:
    raise ConfigError(
      'config.train.freeze_body=True: of random weights; set '
      'config.train.init_from'
    )


def _check_selection(config: ConfigDict) -> None:
  train, data = config.train, config.data
  no_valid = data.valid_fraction == 0 and data.protocol in ('artist', 'track')
  if no_valid and (train.select == 'best' or train.patience_epochs):
    raise ConfigError(
      'config.data.valid_fraction=0: there is nothing to choose by; set '
      'config.train.select=last and config.train.patience_epochs=0'
    )


CROSS_CHECKS = (
  _check_splits,
  _check_features,
  _check_model,
  _check_training,
  _check_selection,
)


def frame_rate_hz(features: ConfigDict) -> float:
  """Returns how many frames of a second there are.

  Args:
    features: `config.features`.
  """
  every = features.sample_rate_hz / features.hop_samples
  return min(features.frames_per_s or every, every)
