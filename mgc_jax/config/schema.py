"""Every field of the configuration: type, default, unit, meaning and rule.

Config files and the command line work on the `ConfigDict` that `base_config`
returns (`--config.train.num_epochs=5`). `Config.from_dict` checks it and
returns the frozen dataclasses that the rest of the package reads.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from ml_collections import ConfigDict

from mgc_jax.config.fields import (
  Section,
  config_dict,
  read_section,
  setting,
  table,
  value_at,
)
from mgc_jax.config.rules import (
  ACTIVATIONS,
  POSITIVE,
  RATE,
  RATES,
  SIZES,
  SPLITS,
  STEP_READOUTS,
  at_least,
  between,
  one_of,
)
from mgc_jax.system.errors import ConfigError

# What musicnn needs: a frame every 61 hops of 256 samples, of 187 hops.
_MUSICNN = {
  'sample_rate_hz': 16000,
  'hop_samples': 61 * 256,
  'max_frequency_hz': 8000.0,
  'frames_per_s': 0.0,
}
# The values that the features of each encoder must have.
ENCODERS = {
  'musicnn': {**_MUSICNN, 'num_bands': 200},
  'musicnn_tags': {**_MUSICNN, 'num_bands': 50},
}
# What the network musicnn itself needs, if it is trained further.
MUSICNN_INPUT = {
  'features.extractor': 'log_mel',
  'features.sample_rate_hz': 16000,
  'features.fft_samples': 512,
  'features.hop_samples': 256,
  'features.frames_per_s': 0.0,
  'features.num_bands': 96,
  'features.min_frequency_hz': 0.0,
  'features.max_frequency_hz': 8000.0,
  'features.scaling': 'compressed',
  'windows.standardise': 'none',
  'model.num_members': 1,
  'model.dtype': 'float32',
}
_MAX_SPECTRUM_VALUES = 2**29  # in an excerpt: 4 GiB as complex numbers


@dataclasses.dataclass(frozen=True)
class SyntheticConfig(Section):
  """The size of the synthetic corpus."""

  num_artists: int = setting(
    6, 'Artists in each genre.', rule=between(1, 10**6)
  )
  tracks_per_artist: int = setting(
    2, 'Tracks by each artist.', rule=between(1, 10**6)
  )
  duration_s: float = setting(
    30.0, 'Length of each track.', unit='s', rule=between(1, 3600)
  )


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
  """Which tracks are used, and how they are split."""

  source: str = setting(
    'synthetic',
    'Where tracks come from: synthetic, folder, manifest, gtzan, fma or gtma.',
  )
  root: str | None = setting(None, 'Folder of the audio.')
  subset: str = setting(
    'medium',
    'Subset of FMA.',
    rule=one_of('small', 'medium', 'large', 'full'),
  )
  gtzan_root: str | None = setting(None, 'Folder of GTZAN, for gtma.')
  fma_root: str | None = setting(None, 'Folder of FMA, for gtma.')
  manifest: str | None = setting(
    None,
    'CSV of tracks; an absolute path, or relative to data.root. Several are '
    'separated by commas; each is a collection named after its folder.',
  )
  genres: tuple[str, ...] = setting(
    (), 'Names of the genres that may occur; empty allows any.'
  )
  protocol: str | None = setting(
    None,
    'How tracks are split. given: by the split column of the manifest. artist: '
    'no artist is in two splits. track: no track is in two splits. window: the '
    'leaking split of the baseline. Unset: artist for gtzan and gtma and if '
    'there is no split column or a cross-validation, otherwise given.',
    rule=one_of('given', 'artist', 'track', 'window'),
  )
  on_leak: str = setting(
    'stop',
    'What to do if two splits share a track, an artist or audio, or if the '
    'same audio has two genres. stop: raise an error. drop: keep a shared '
    'track only in the split closest to the test, and drop audio with two '
    'genres. warn: only report it, as protocol window always does.',
    rule=one_of('stop', 'drop', 'warn'),
  )
  near_duplicates: bool = setting(
    False,
    'Whether recordings that sound the same are found (mgc leaks) and treated '
    'like identical audio; reads all records once more.',
  )
  examples: str = setting(
    'excerpt',
    'What a row of a batch is. excerpt: an excerpt from which windows are cut '
    'during training. window: a single window of the grid, as in the baseline '
    'and always with protocol window.',
    rule=one_of('excerpt', 'window'),
  )
  split_seed: int = setting(
    0,
    'Random seed that assigns tracks to splits; independent of config.seed.',
    rule=between(0, 2**32),
  )
  valid_fraction: float = setting(
    0.1,
    'Share of the tracks used for validation; in a cross-validation, of the '
    'tracks outside the test fold. 0: no validation split.',
    rule=RATE,
  )
  test_fraction: float = setting(
    0.1,
    'Share of the tracks used for the test; unused in a cross-validation.',
    rule=RATE,
  )
  test_source: str | None = setting(
    None,
    'Collection that becomes the test split (leave one collection out); the '
    'others, without the artists of this one, are divided into train and '
    'valid. For protocols artist and track.',
  )
  num_folds: int = setting(
    0,
    'Number of cross-validation folds, at least 2. 0: split by the fractions.',
    rule=between(0, 10**6),
  )
  fold: int = setting(
    0,
    'Fold used as the test split, from 0 to num_folds - 1.',
    rule=between(0, 10**6),
  )
  eval_split: str | None = setting(
    None,
    'Split evaluated after training; several are combined, as in valid,test. '
    'Unset: test if it has tracks, otherwise valid.',
  )
  prepared_dir: str | None = setting(
    None,
    'Folder of the records; each set has a sub-folder named by a fingerprint '
    'of source, files and features. Unset: the user cache.',
  )
  cache: str = setting(
    'auto',
    'Where the training split is kept. none: streamed from disk. device: in '
    'device memory as float16. auto: device if it fits easily.',
    rule=one_of('auto', 'device', 'none'),
  )
  allow_missing: bool = setting(
    False, 'Continue even if over 10 % of the tracks are skipped.'
  )
  on_damage: str = setting(
    'auto',
    'What to do with a truncated or damaged file. warn: use the part that can '
    'be decoded, and report the file. skip: skip the track. auto: warn if at '
    'least 90 % of the stated length can be decoded, otherwise skip.',
    rule=one_of('auto', 'warn', 'skip'),
  )
  num_workers: int = setting(
    0, 'Processes that decode audio; 0: one per core.', rule=between(0, 10**4)
  )
  min_duration_s: float = setting(
    1.0,
    'Shorter tracks are skipped and reported.',
    unit='s',
    rule=between(0, 3600),
  )
  synthetic: SyntheticConfig = SyntheticConfig()


@dataclasses.dataclass(frozen=True)
class FeaturesConfig(Section):
  """The frames of an excerpt, kept apart from the model: models share them.

  An encoder needs the values in `ENCODERS`; the other fields of log-mel frames
  have no effect on it.
  """

  extractor: str = setting(
    'log_mel',
    'What a frame is. log_mel: power in mel bands, in dB. musicnn: 200 '
    'features of 3 s of audio, from a pretrained encoder. musicnn_tags: the '
    'log-odds of its 50 tags.',
    rule=one_of('log_mel', 'musicnn', 'musicnn_tags'),
  )
  sample_rate_hz: int = setting(
    22050,
    'Audio is resampled to this rate.',
    unit='Hz',
    rule=between(1000, 400_000),
  )
  fft_samples: int = setting(
    2048,
    'Length of the Hann window and of the Fourier transform.',
    unit='samples',
    rule=between(16, 2**20),
  )
  hop_samples: int = setting(
    1024,
    'Distance between frames; 1024 at 22,050 Hz is 46.4 ms.',
    unit='samples',
    rule=between(1, 2**20),
  )
  frames_per_s: float = setting(
    0.0,
    'Frames kept per second, evenly spaced over the excerpt; 0: all.',
    unit='1/s',
    rule=between(0, 10**6),
  )
  max_frames: int = setting(
    0,
    'Largest number of frames in an excerpt; 0: no limit.',
    unit='frames',
    rule=between(0, 10**7),
  )
  num_bands: int = setting(
    128,
    'Number of mel bands F; precomputed spectrograms must have as many.',
    unit='bands',
    rule=between(1, 4096),
  )
  min_frequency_hz: float = setting(
    0.0, 'Lower edge of the first band.', unit='Hz', rule=at_least(0)
  )
  max_frequency_hz: float = setting(
    11025.0, 'Upper edge of the last band.', unit='Hz', rule=POSITIVE
  )
  dynamic_range_db: float = setting(
    80.0,
    'Values are clipped this far below the maximum of their excerpt.',
    unit='dB',
    rule=POSITIVE,
  )
  scaling: str = setting(
    'full_scale',
    'full_scale: 0 dB is the power of full-scale audio. range: 0 dB is the '
    'maximum of each excerpt, whose minimum becomes -dynamic_range_db. '
    'compressed: log10(1 + 10,000 power) in place of dB, as for musicnn.',
    rule=one_of('full_scale', 'range', 'compressed'),
  )
  excerpt_s: float = setting(
    30.0,
    'Longest excerpt of a track.',
    unit='s',
    rule=between(0.1, 3600),
  )
  excerpts: str = setting(
    'middle',
    'Which excerpts of a track are used. middle: only the middle one. all: the '
    'whole track, one excerpt after another.',
    rule=one_of('middle', 'all'),
  )


@dataclasses.dataclass(frozen=True)
class WindowsConfig(Section):
  """How excerpts are cut into the windows that a model sees."""

  num_frames: int = setting(
    128,
    'Length T of a window; 128 frames are 5.9 s with the default features.',
    unit='frames',
    rule=between(1, 10**7),
  )
  hop_frames: int = setting(
    128,
    'Distance between the starts of successive windows.',
    unit='frames',
    rule=between(1, 10**7),
  )
  standardise: str = setting(
    'bands',
    'Which values have mean 0 and standard deviation 1. bands: those of each '
    'band over the training split. excerpt: those of each excerpt over all '
    'bands. excerpt_bands: those of each band of each excerpt, which removes '
    'the frequency response of a recording. window: those of each window over '
    'all bands. If examples are windows, excerpt and window are the same. '
    'none: the values are used as they are.',
    rule=one_of('bands', 'excerpt', 'excerpt_bands', 'window', 'none'),
  )
  num_windows: int = setting(
    3,
    'Number W of successive windows of an excerpt in a training step.',
    unit='windows',
    rule=between(1, 10**6),
  )


@dataclasses.dataclass(frozen=True)
class AugmentConfig(Section):
  """Augmentation, used in training only."""

  crop: str = setting(
    'shifted',
    'Where the windows of an excerpt are. grid: from its start. shifted: one '
    'after another from a random start. scattered: each at a random place.',
    rule=one_of('grid', 'shifted', 'scattered'),
  )
  max_speed: float = setting(
    1.0,
    'Excerpts are played up to this factor faster or slower; 1: off.',
    rule=between(1, 10),
  )
  max_shift_bands: int = setting(
    0,
    'Largest shift of the whole spectrum, up or down; 0: off.',
    unit='bands',
    rule=between(0, 10**4),
  )
  gain_db: float = setting(
    6.0,
    'Largest change of the level, up or down; 0: off.',
    unit='dB',
    rule=between(0, 1000),
  )
  filter_db: float = setting(
    0.0,
    'Largest change of the level of a band, smooth over bands (FilterAugment); '
    '0: off.',
    unit='dB',
    rule=between(0, 1000),
  )
  low_pass_bands: int = setting(
    0,
    'Largest number of the highest bands that are silenced in an excerpt, as '
    'in recordings of less bandwidth; 0: off.',
    unit='bands',
    rule=between(0, 10**4),
  )
  floor_db: float = setting(
    0.0,
    'Largest rise of the noise floor of an excerpt; 0: off.',
    unit='dB',
    rule=between(0, 1000),
  )
  mix_style_alpha: float = setting(
    0.0,
    'MixStyle gives half of the excerpts a mixture of their own mean and '
    'deviation of each band with those of another one, with shares from '
    'Beta(alpha, alpha); 0: off.',
    rule=between(0, 1000),
  )
  num_time_masks: int = setting(
    1, 'Masks over time in each window (SpecAugment).', rule=between(0, 10**3)
  )
  max_time_mask_frames: int = setting(
    24, 'Longest mask over time.', unit='frames', rule=between(0, 10**7)
  )
  num_band_masks: int = setting(
    1, 'Masks over mel bands in each window.', rule=between(0, 10**3)
  )
  max_band_mask_bands: int = setting(
    16, 'Widest mask over mel bands.', unit='bands', rule=between(0, 10**4)
  )
  mixup_alpha: float = setting(
    0.2,
    'Mixup draws its shares from Beta(alpha, alpha); 0: off.',
    rule=between(0, 1000),
  )


@dataclasses.dataclass(frozen=True)
class CnnConfig(Section):
  """Convolution blocks of the CNN and the CRNN."""

  stack_frames: int = setting(
    1,
    'Successive frames stacked as channels before the first convolution. '
    'Stacking 2 x 2 frames and bands quarters the arithmetic and lowers the '
    'accuracy.',
    unit='frames',
    rule=between(1, 10**3),
  )
  stack_bands: int = setting(
    1,
    'Adjacent mel bands stacked as channels before the first convolution.',
    unit='bands',
    rule=between(1, 10**3),
  )
  filters: tuple[int, ...] = setting(
    (32, 64, 96, 128, 128), 'Output channels of each block.', rule=SIZES
  )
  kernel_size: int = setting(
    3, 'Width and height of the kernels.', rule=between(1, 10**3)
  )
  padding: str = setting(
    'SAME', 'Padding of the convolutions.', rule=one_of('SAME', 'VALID')
  )
  pool_frames: tuple[int, ...] = setting(
    (2, 2, 2, 2, 1), 'Max-pool size over time in each block.', rule=SIZES
  )
  pool_bands: tuple[int, ...] = setting(
    (2, 2, 2, 2, 2), 'Max-pool size over mel bands in each block.', rule=SIZES
  )
  dropout: tuple[float, ...] = setting(
    (0.0, 0.1, 0.1, 0.1, 0.1), 'Dropout rate after each block.', rule=RATES
  )
  activation: str = setting(
    'relu', 'Activation of each block.', rule=one_of(*ACTIVATIONS)
  )
  norm: str = setting(
    'batch',
    'Normalisation. batch: batch norm of the output of each convolution. '
    'batch_after_pool: batch norm after the max-pool, on a quarter of the '
    'values. none: off.',
    rule=one_of('batch', 'batch_after_pool', 'none'),
  )
  readout: str = setting(
    'mean_max',
    'How the last map [T, F, channels] becomes vectors. mean_max: mean over '
    'bands, then mean and max over time. mean. flatten. In a CRNN also steps: '
    'one vector per time step, over which the LSTM runs; and step_means: the '
    'same, averaged over bands.',
    rule=one_of('mean_max', 'mean', 'flatten', *STEP_READOUTS),
  )


@dataclasses.dataclass(frozen=True)
class LstmConfig(Section):
  """The LSTM of the LSTM model and of the CRNN."""

  hidden_size: int = setting(128, 'Hidden units H.', rule=between(1, 10**5))
  stack_frames: int = setting(
    4,
    'Successive frames stacked into one LSTM step; unused in a crnn.',
    unit='frames',
    rule=between(1, 10**6),
  )
  deltas: bool = setting(
    False,
    'Add the differences between successive frames to the input; unused in a '
    'crnn.',
  )
  bands_as_steps: bool = setting(
    False,
    'Scan mel bands instead of time, as the baseline does; unused in a crnn.',
  )
  encoder_size: int = setting(
    0,
    'Units of a dense layer with batch norm and ReLU on each step before the '
    'LSTM; 0: none. Unused in a crnn.',
    rule=between(0, 10**5),
  )
  encoder_dropout: float = setting(
    0.0, 'Dropout rate after that layer.', rule=RATE
  )
  stateful: bool = setting(
    True,
    'Start a window with the state at the end of the previous window instead '
    'of zeros. A bundle trained on single windows has False.',
  )
  bidirectional: bool = setting(
    False, 'Add a second LSTM that runs backwards within each window.'
  )
  input_dropout: float = setting(
    0.0,
    'Dropout rate of the input; all steps of an excerpt share one mask.',
    rule=RATE,
  )
  recurrent_dropout: float = setting(
    0.0,
    'Dropout rate of the hidden state; all steps share one mask.',
    rule=RATE,
  )
  output_dropout: float = setting(0.5, 'Dropout rate of the output.', rule=RATE)
  readout: str = setting(
    'mean_max',
    'How the hidden states of a window become one vector.',
    rule=one_of('mean_max', 'mean', 'last', 'flatten'),
  )


@dataclasses.dataclass(frozen=True)
class DenseConfig(Section):
  """Hidden dense layers between the backbone and the logits."""

  sizes: tuple[int, ...] = setting((64,), 'Units of each layer.', rule=SIZES)
  dropout: tuple[float, ...] = setting(
    (0.25,), 'Dropout rate after each layer.', rule=RATES
  )
  activation: str = setting(
    'relu', 'Activation of each layer.', rule=one_of(*ACTIVATIONS)
  )


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
  """The network."""

  name: str = setting(
    'cnn',
    'Kind of network. musicnn: a pretrained encoder, which is trained further.',
    rule=one_of('cnn', 'lstm', 'crnn', 'musicnn'),
  )
  num_genres: int = setting(
    10,
    'Number C of genres; set from the data in training.',
    rule=between(2, 10**5),
  )
  num_members: int = setting(
    1,
    'Networks in the ensemble, whose probabilities are averaged. Each is '
    'trained on its own share of every batch, and sees each example once per '
    'epoch.',
    rule=between(1, 100),
  )
  dtype: str = setting(
    'float32',
    'Type of the arithmetic; weights are float32.',
    rule=one_of('float32', 'bfloat16'),
  )
  cnn: CnnConfig = CnnConfig()
  lstm: LstmConfig = LstmConfig()
  dense: DenseConfig = DenseConfig()


@dataclasses.dataclass(frozen=True)
class TrainConfig(Section):
  """Training."""

  num_epochs: int = setting(
    12, 'Length of the training.', unit='epochs', rule=between(1, 10**7)
  )
  batch_size: int = setting(
    8,
    'Examples in a step, over all devices.',
    unit='examples',
    rule=between(1, 10**6),
  )
  accumulate_steps: int = setting(
    1,
    'Number of parts into which a batch is divided to save memory. The update '
    'is that of the whole batch, except that batch norm and dropout see parts.',
    rule=between(1, 10**6),
  )
  init_from: str | None = setting(
    None,
    'Folder of a bundle whose weights training starts from. The dense layers '
    'are new if the bundle has other genres or other dense layers. Unset: '
    'random weights.',
  )
  freeze_backbone: bool = setting(False, 'Train only the dense layers.')
  optimizer: str = setting(
    'adamw',
    'Optimizer; adam has no weight decay.',
    rule=one_of('adamw', 'adam'),
  )
  learning_rate: float = setting(
    2e-3, 'Learning rate at the end of the warm-up.', rule=POSITIVE
  )
  warmup_epochs: float = setting(
    1.0,
    'Length of the linear warm-up from 0.',
    unit='epochs',
    rule=between(0, 1e6),
  )
  schedule: str = setting(
    'cosine',
    'Learning rate after the warm-up; cosine decays to zero.',
    rule=one_of('cosine', 'constant'),
  )
  weight_decay: float = setting(
    1e-3, 'Weight decay of the kernels.', rule=between(0, 1e6)
  )
  clip_norm: float = setting(
    1.0,
    'Largest global norm of the gradient; 0: no clipping.',
    rule=between(0, 1e12),
  )
  ema_decay: float = setting(
    0.0,
    'Decay per step of the moving average of the weights; 0: no average.',
    rule=RATE,
  )
  precise_batch_norm: bool = setting(
    True,
    'Recompute the batch-norm statistics before each evaluation, from training '
    'windows without augmentation and dropout. Not for musicnn, which keeps '
    'its running averages.',
  )
  label_smoothing: float = setting(
    0.1, 'Share of the target spread over all genres.', rule=RATE
  )
  class_weights: bool = setting(
    False, 'Weight genres by the inverse of their frequency.'
  )
  own_genres_only: bool = setting(
    False,
    'The loss of a track compares only the genres that its collection has, so '
    'that nothing is gained by telling collections apart.',
  )
  checkpoint_every_steps: int = setting(
    500,
    'Distance between checkpoints within an epoch; 0: only at the end of each '
    'epoch. If the data is on an accelerator, rounded up to 64 steps.',
    unit='steps',
    rule=between(0, 10**9),
  )
  select: str = setting(
    'best',
    'Which epoch becomes the bundle. best: the one with the highest track '
    'accuracy on the validation split. last: the last one.',
    rule=one_of('best', 'last'),
  )
  evaluate_every_epochs: int = setting(
    1,
    'Distance between evaluations; the last epoch is always evaluated.',
    unit='epochs',
    rule=between(1, 10**9),
  )
  patience_epochs: int = setting(
    0,
    'Stop after this many epochs without a better one; 0: off.',
    unit='epochs',
    rule=between(0, 10**9),
  )
  tensorboard: bool = setting(
    False, 'Also write the metrics as TensorBoard files.'
  )


@dataclasses.dataclass(frozen=True)
class EvalConfig(Section):
  """Evaluation."""

  batch_size: int = setting(
    16, 'Excerpts in a batch.', unit='excerpts', rule=between(1, 10**6)
  )
  num_bootstrap: int = setting(
    2000,
    'Bootstrap samples of the tracks for the confidence interval.',
    rule=between(100, 10**7),
  )


@dataclasses.dataclass(frozen=True)
class Config(Section):
  """The whole configuration."""

  seed: int = setting(
    0,
    'Random seed of initial weights, order of examples, dropout and '
    'augmentation.',
    rule=between(0, 2**32),
  )
  data: DataConfig = DataConfig()
  features: FeaturesConfig = FeaturesConfig()
  windows: WindowsConfig = WindowsConfig()
  augment: AugmentConfig = AugmentConfig()
  model: ModelConfig = ModelConfig()
  train: TrainConfig = TrainConfig()
  eval: EvalConfig = EvalConfig()

  @classmethod
  def from_dict(cls, found: ConfigDict | Mapping[str, Any]) -> Self:
    """Checks names, types, ranges, choices and combinations.

    Args:
      found: What the `get_config()` of a config file returned, with overrides
        applied; or a mapping of sections, as JSON has it.

    Returns:
      The configuration. Lists have become tuples.

    Raises:
      ConfigError: A field is wrong; states the first one and its requirement.
    """
    config = read_section(cls, found, 'config')
    _check_splits(config.data)
    _check_features(config.features, config.windows)
    if config.data.near_duplicates and config.features.extractor in ENCODERS:
      raise ConfigError(
        'config.data.near_duplicates=True: needs log-mel frames, so '
        f'config.features.extractor={config.features.extractor} must be log_mel'
      )
    _check_model(config.model, config.windows)
    if config.model.name == 'musicnn':
      _check_musicnn(config)
    _check_training(config.train)
    if config.train.own_genres_only and config.augment.mixup_alpha:
      raise ConfigError(
        'config.train.own_genres_only=True: mixup mixes tracks of different '
        'collections; set config.augment.mixup_alpha=0'
      )
    _check_selection(config.train, config.data)
    return config


def base_config() -> ConfigDict:
  """Returns the default of every field, to be changed by a config file."""
  return config_dict(Config())


def validate(config: ConfigDict) -> None:
  """Checks a configuration as `Config.from_dict` does.

  Args:
    config: What the `get_config()` of a config file returned.

  Raises:
    ConfigError: A field is wrong; states the first one and its requirement.
  """
  Config.from_dict(config)


def describe(config: ConfigDict | Config | None = None) -> str:
  """Returns a table of every field with its value, unit and meaning.

  Args:
    config: The values; the defaults if None.
  """
  return table(Config, Config() if config is None else config)


def field(config: ConfigDict | Config, path: str) -> Any:
  """Returns `config.<path>`; raises `ConfigError` if there is no such field."""
  return value_at(config, path)


def frame_rate_hz(features: FeaturesConfig) -> float:
  """Returns the number of frames per second.

  Args:
    features: `config.features`.
  """
  every = features.sample_rate_hz / features.hop_samples
  return min(features.frames_per_s or every, every)


def _check_splits(data: DataConfig) -> None:
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
  if data.test_source and (
    data.num_folds or data.protocol in ('given', 'window')
  ):
    raise ConfigError(
      f'config.data.test_source={data.test_source}: needs config.data.protocol='
      'artist or track, and config.data.num_folds=0'
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


def _check_features(features: FeaturesConfig, windows: WindowsConfig) -> None:
  for name, value in ENCODERS.get(features.extractor, {}).items():
    if getattr(features, name) != value:
      raise ConfigError(
        f'config.features.{name}={getattr(features, name)}: must be {value} '
        f'with config.features.extractor={features.extractor}'
      )
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


def _check_model(model: ModelConfig, windows: WindowsConfig) -> None:
  cnn, dense, lstm = model.cnn, model.dense, model.lstm
  if not cnn.filters:
    raise ConfigError('config.model.cnn.filters=(): needs at least one block')
  steps = model.name == 'lstm' and not lstm.bands_as_steps
  if steps and lstm.stack_frames > windows.num_frames:
    raise ConfigError(
      f'config.model.lstm.stack_frames={lstm.stack_frames}: more than '
      f'config.windows.num_frames={windows.num_frames}'
    )
  for name in ('pool_frames', 'pool_bands', 'dropout'):
    values = getattr(cnn, name)
    if len(values) != len(cnn.filters):
      raise ConfigError(
        f'config.model.cnn.{name}={values}: needs one number for each of '
        f'config.model.cnn.filters={cnn.filters}'
      )
  if len(dense.dropout) != len(dense.sizes):
    raise ConfigError(
      f'config.model.dense.dropout={dense.dropout}: needs one number for each '
      f'of config.model.dense.sizes={dense.sizes}'
    )
  if cnn.readout in STEP_READOUTS and model.name == 'cnn':
    raise ConfigError(
      f'config.model.cnn.readout={cnn.readout}: for a crnn only'
    )


def _check_musicnn(config: Config) -> None:
  for path, needed in MUSICNN_INPUT.items():
    value = value_at(config, path)
    if value != needed:
      raise ConfigError(
        f'config.{path}={value}: must be {needed} with '
        'config.model.name=musicnn'
      )


def _check_training(train: TrainConfig) -> None:
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
  if train.freeze_backbone and not train.init_from:
    raise ConfigError(
      'config.train.freeze_backbone=True: the weights would stay random; set '
      'config.train.init_from'
    )


def _check_selection(train: TrainConfig, data: DataConfig) -> None:
  no_valid = data.valid_fraction == 0 and data.protocol in ('artist', 'track')
  if no_valid and (train.select == 'best' or train.patience_epochs):
    raise ConfigError(
      'config.data.valid_fraction=0: no validation split; set '
      'config.train.select=last and config.train.patience_epochs=0'
    )
