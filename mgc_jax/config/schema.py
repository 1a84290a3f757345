"""Every field of the configuration, with its unit and meaning, and the checks.

A config file is `base_config()` with overrides; the command line overrides it
again (`--config.train.num_epochs=5`). Features come before the model, so that
one prepared data set serves many models.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from mgc_jax.config.rules import CHOICES, CROSS_CHECKS, RULES
from mgc_jax.system.errors import ConfigError


def base_config() -> ConfigDict:
  """Returns the default of every field; a field not here does not exist."""
  config = ConfigDict()
  config.seed = 0  # initial weights, order of epochs, dropout, augmentation
  config.data = _data()
  config.features = _features()
  config.windows = _windows()
  config.augment = _augment()
  config.model = _model()
  config.train = _train()
  config.eval = _eval()
  return config


def validate(config: ConfigDict) -> None:
  """Checks ranges, choices and combinations.

  Args:
    config: what a config file's `get_config()` returned, overrides applied.

  Raises:
    ConfigError: names the first field that is wrong, and what it must be.
  """
  _check_names(config, base_config(), 'config')
  for path, choices in CHOICES.items():
    value = field(config, path)
    if value not in choices:
      wish = ', '.join(str(c) for c in choices if c is not None)
      raise ConfigError(f'config.{path}={value}: must be one of {wish}')
  for path, (holds, wish) in RULES.items():
    value = field(config, path)
    # None can be put into any field of a ConfigDict.
    if value is None or not holds(value):
      raise ConfigError(f'config.{path}={value}: must be {wish}')
  for check in CROSS_CHECKS:
    check(config)


def _check_names(found: ConfigDict, wanted: ConfigDict, prefix: str) -> None:
  """Compares the names of fields: a config file may have misspelt one."""
  for name in found:
    if name not in wanted:
      raise ConfigError(
        f'{prefix}.{name}: no such field; see mgc_jax/config/schema.py'
      )
  for name, value in wanted.items():
    if name not in found:
      raise ConfigError(
        f'{prefix}.{name}: missing; see mgc_jax/config/schema.py'
      )
    if isinstance(value, ConfigDict):
      if not isinstance(found[name], ConfigDict):
        raise ConfigError(f'{prefix}.{name}: must be a section of fields')
      _check_names(found[name], value, f'{prefix}.{name}')


def field(config: ConfigDict, path: str) -> object:
  """Returns `config.<path>`; `ConfigError` where there is no such field."""
  value = config
  for name in path.split('.'):
    if name not in value:
      raise ConfigError(f'config.{path}: missing; see mgc_jax/config/schema.py')
    value = value[name]
  return value


def _data() -> ConfigDict:
  data = ConfigDict()
  # synthetic, folder, manifest, gtzan, fma, or gtma.
  data.source = 'synthetic'
  data.root = placeholder(str)  # the folder of the audio
  data.subset = 'medium'  # of fma: small, medium, large, or full
  data.gtzan_root = placeholder(str)  # of gtma: the folders of its two sources
  data.fma_root = placeholder(str)
  data.manifest = placeholder(str)  # CSV; absolute, or relative to data.root
  data.genres = ()  # that may occur, as strings; empty: any
  # given: the manifest's split column; artist: no artist in two splits; track;
  # window: the seed's leaking split. Unset: given where there is a split
  # column and no fold, artist elsewhere, and for gtzan and gtma.
  data.protocol = placeholder(str)
  # What to do if two splits share a track, an artist or audio, or if the same
  # audio has two genres. stop: raise an error; drop: keep a shared track only
  # in the split nearest to the test, and drop audio with two genres; warn.
  # With protocol window it is only reported.
  data.on_leak = 'stop'
  # What a row of a batch is. excerpt: windows are cut from it when training;
  # window: one of its grid alone, as the seed had it (and protocol window has).
  data.examples = 'excerpt'
  data.split_seed = 0  # which tracks go where; apart from config.seed
  data.valid_fraction = 0.1  # of the tracks (with folds: of the rest); 0: none
  data.test_fraction = 0.1  # of the tracks
  data.num_folds = 0  # 0: fractions; K >= 2: fold data.fold of K is the test
  data.fold = 0  # 0 .. num_folds - 1
  # Which split is evaluated at the end; several are pooled: 'valid,test'.
  # Unset: test where there is one, else valid.
  data.eval_split = placeholder(str)
  # Folder under which records lie, each set in a sub-folder named after the
  # fingerprint of its source, files and features. Unset: the user's cache.
  data.prepared_dir = placeholder(str)
  # Where the training split lies: none streams it from disk; device holds it in
  # the device's memory, float16; auto does that where it fits easily.
  data.cache = 'auto'
  data.allow_missing = False  # go on with over 10 % of the tracks left out
  # What is done with a truncated or damaged file. warn: the part that can be
  # decoded is used, and named; skip: the track is left out; auto: it is used
  # where at least 90 % of the stated length can be decoded.
  data.on_damage = 'auto'
  data.num_workers = 0  # processes that decode; 0: one per core
  data.min_duration_s = 1.0  # a shorter track is left out, and reported
  data.synthetic = ConfigDict()
  data.synthetic.num_artists = 8  # made-up artists per genre
  data.synthetic.tracks_per_artist = 3
  data.synthetic.duration_s = 30.0  # of each track
  return data


def _features() -> ConfigDict:
  features = ConfigDict()
  features.sample_rate_hz = 22050  # audio is resampled to it
  features.fft_samples = 2048  # length of the Hann window and of the transform
  features.hop_samples = 1024  # between frames; 46.4 ms at 22,050 Hz
  # Of them as many are kept, evenly spaced over the excerpt; 0: all.
  features.frames_per_s = 0.0
  features.max_frames = 0  # and no more of an excerpt than so many; 0: any
  features.num_bands = 128  # mel bands, F; ready-made frames must have as many
  features.min_frequency_hz = 0.0  # lower edge of the first band
  features.max_frequency_hz = 11025.0  # upper edge of the last band
  features.dynamic_range_db = (
    80.0  # clipped that far under an excerpt's maximum
  )
  # full_scale: 0 dB is the power of full-scale audio; range: each excerpt's own
  # maximum is 0 dB, and its minimum -dynamic_range_db.
  features.scaling = 'full_scale'
  features.excerpt_s = 30.0  # longest excerpt of a track
  features.excerpts = 'middle'  # middle: one of a track; all: one after another
  return features


def _windows() -> ConfigDict:
  windows = ConfigDict()
  windows.num_frames = (
    128  # T, frames in a window; 5.9 s with the features above
  )
  windows.hop_frames = 128  # between the starts of successive windows
  # What brings decibels to mean 0 and deviation 1: bands, those of each band
  # over the training split; excerpt, each excerpt's own over all its bands;
  # window, each window's. Where examples are windows the last two are one.
  windows.standardise = 'bands'
  windows.num_windows = 3  # W of an excerpt in a training step, in order
  return windows


def _augment() -> ConfigDict:
  """What acts in training only; 0 switches a number off."""
  augment = ConfigDict()
  # Where the windows of an excerpt are: grid, from its start on; shifted, one
  # after another from anywhere on; scattered, each anywhere, in order.
  augment.crop = 'shifted'
  augment.max_speed = 1.0  # played up to so much faster or slower; 1: off
  augment.max_shift_bands = 0  # of all that sounds, up or down; 0: off
  augment.gain_db = 6.0  # level moved by up to so much, up or down
  augment.filter_db = 0.0  # likewise that of bands, smoothly (FilterAugment)
  augment.num_time_masks = 1  # SpecAugment: per window
  augment.max_time_mask_frames = 24
  augment.num_band_masks = 1
  augment.max_band_mask_bands = 16
  augment.mixup_alpha = 0.2  # Beta(alpha, alpha); 0: no mixup
  return augment


def _model() -> ConfigDict:
  model = ConfigDict()
  model.name = 'cnn'  # cnn, lstm, or crnn
  model.num_genres = 10  # C; filled from the data
  # M networks of this kind that answer together. Each is trained on rows of its
  # own, an M-th of every batch, and has every example once an epoch.
  model.num_members = 1
  model.dtype = 'float32'  # of the arithmetic: float32 or bfloat16
  model.cnn = ConfigDict()
  # Frames and bands folded into channels before the first convolution: 2 x 2
  # quarters the arithmetic, and costs accuracy.
  model.cnn.fold_frames = 1
  model.cnn.fold_bands = 1
  model.cnn.filters = (32, 64, 96, 128, 128)  # one per block
  model.cnn.kernel_size = 3  # square
  model.cnn.padding = 'SAME'  # of convolutions: SAME or VALID
  model.cnn.pool_frames = (2, 2, 2, 2, 1)  # max-pool per block, over time
  model.cnn.pool_bands = (2, 2, 2, 2, 2)  # and over mel bands
  model.cnn.dropout = (0.0, 0.1, 0.1, 0.1, 0.1)  # rate after each block
  model.cnn.activation = 'relu'  # relu, elu, gelu, silu or tanh
  # batch: of a convolution's outputs; batch_after_pool: of their maxima, which
  # are a quarter; none.
  model.cnn.norm = 'batch'
  # How a block of [T', F', channels] becomes one vector: mean_max (mean over
  # bands, then mean and max over time), mean, or flatten. In a CRNN also
  # steps, one vector per time step, over which the LSTM then runs, or
  # step_means, its mean over bands.
  model.cnn.readout = 'mean_max'
  model.lstm = ConfigDict()
  model.lstm.hidden_size = 128  # H
  model.lstm.frames_per_step = 4  # successive frames folded into one LSTM step
  model.lstm.differences = False  # of successive frames, beside them
  model.lstm.bands_as_steps = False  # the seed's swapped axes
  # A dense layer on each step before the LSTM, normalised over the batch, then
  # a rectifier; 0: none. Only in an lstm: a crnn has its blocks there.
  model.lstm.encoder_size = 0
  model.lstm.encoder_dropout = 0.0
  # A window begins with the state that the one before it left, not with zeros.
  # Of a run that trains on one window at a time the bundle says False.
  model.lstm.stateful = True
  model.lstm.bidirectional = False  # another one backwards, within each window
  model.lstm.input_dropout = 0.0  # one mask for all steps of an excerpt
  model.lstm.recurrent_dropout = 0.0  # likewise, on the hidden state
  model.lstm.output_dropout = 0.5
  model.lstm.readout = 'mean_max'  # over its steps: also mean, last, flatten
  model.dense = ConfigDict()
  model.dense.sizes = (64,)  # hidden layers before the genres
  model.dense.dropout = (0.25,)  # rate after each
  model.dense.activation = 'relu'
  return model


def _train() -> ConfigDict:
  train = ConfigDict()
  train.num_epochs = 12
  train.batch_size = 8  # excerpts in a step, over all devices
  # Parts of a batch, computed one after another for want of memory; the update
  # is that of the whole batch, but for batch norm and dropout, which see parts.
  train.accumulate_steps = 1
  # A bundle (a folder) whose weights training starts from. Where its genres are
  # others, or its dense layers, those layers are new. Unset: random weights.
  train.init_from = placeholder(str)
  train.freeze_body = False  # train the dense layers (the head) only
  train.optimizer = 'adamw'  # adamw, or adam (no weight decay)
  train.learning_rate = 2e-3  # at the end of the warm-up
  train.warmup_epochs = 1.0
  train.schedule = 'cosine'  # cosine to zero after the warm-up, or constant
  train.weight_decay = 1e-3  # of kernels only
  train.clip_norm = 1.0  # of the gradient, globally; 0: off
  train.ema_decay = 0.0  # average of the weights per step; 0: off
  # Count the statistics of batch normalisation anew before evaluation, from
  # training windows as they are evaluated: nothing mixed, masked or dropped.
  train.recount_batch_stats = True
  train.label_smoothing = 0.1
  train.class_weights = False  # weigh genres by the inverse of their number
  # Steps between checkpoints inside an epoch; each epoch's end has one anyway.
  # With the data on an accelerator, at the end of a piece of 64 steps.
  train.checkpoint_every_steps = 500  # 0: only there
  train.select = 'best'  # best epoch by valid's track accuracy, or last
  train.evaluate_every_epochs = 1  # the last one is evaluated anyway
  train.tensorboard = False  # log the metrics to TensorBoard files as well
  train.patience_epochs = 0  # stop after so many without a better one; 0: off
  return train


def _eval() -> ConfigDict:
  evaluate = ConfigDict()
  evaluate.batch_size = 16  # excerpts
  evaluate.num_bootstrap = 2000  # resamplings of the tracks for the interval
  return evaluate


def describe(config: ConfigDict) -> str:
  """Returns a line for each field: its name and value."""
  return str(config)
