"""The networks of `config.model` in Keras 3 on TensorFlow, with its defaults.

Supports only float32, and the activations relu and elu.
"""

import os
from typing import Any

os.environ['KERAS_BACKEND'] = 'tensorflow'  # must be set before the import

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers, ops  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402


class KerasPeer:
  """A network, its optimiser, and the calls that are timed.

  With recurrent dropout Keras draws one mask for each gate of the LSTM, for its
  input and for its hidden state; ours has one mask for all four gates.
  """

  def __init__(
    self, config: ConfigDict, batch_shape: tuple, variant: str = 'default'
  ):
    """Builds and compiles the network with random weights.

    Args:
      config: `config.model` and `config.train` are read.
      batch_shape: (B, W, T, F) of the windows.
      variant: must be default.
    """
    if variant != 'default':
      raise ValueError(f'variant={variant}: must be default')
    self._num_genres = config.model.num_genres
    self._targets = {}  # variables, by their names in flax
    self.network = _network(config.model, batch_shape, self._targets)
    self.num_params = sum(
      int(np.prod(v.shape)) for v in self.network.trainable_variables
    )
    self.network.compile(
      _optimizer(config.train, self.network),
      keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=config.train.label_smoothing
      ),
      jit_compile='auto',
    )
    self.network.make_train_function()
    # Created in the same way as Keras's own predict function.
    self._evaluate = tf.function(
      lambda x: self.network(x, training=False),
      jit_compile=self.network.jit_compile,
    )

  def load(
    self, params: dict[str, np.ndarray], batch_stats: dict[str, np.ndarray]
  ) -> None:
    """Loads flax's weights, f32[...] by their names joined with '/'."""
    values = params | batch_stats
    if set(values) != set(self._targets):
      names = sorted(set(values) ^ set(self._targets))
      raise ValueError(f'weights of flax and of Keras differ: {names}')
    for name, variable in self._targets.items():
      variable.assign(np.asarray(values[name]))

  def logits(self, windows: np.ndarray) -> np.ndarray:
    """Maps f32[B, W, T, F] windows to f32[B, W, C], in evaluation mode."""
    return self._evaluate(tf.constant(windows)).numpy()

  def place(self, windows: np.ndarray, label: np.ndarray) -> Any:
    """Converts f32[B, W, T, F] windows and their excerpts' i64[B] labels."""
    targets = np.eye(self._num_genres, dtype=np.float32)[label]
    targets = np.repeat(targets[:, None], windows.shape[1], axis=1)
    x = tf.constant(windows)
    data = tf.data.Dataset.from_tensors((x, tf.constant(targets))).repeat()
    return iter(data), x

  def train_step(self, placed: Any) -> None:
    """Takes one step of the optimiser on what `place` returned."""
    self._last = self.network.train_function(placed[0])

  def infer(self, placed: Any) -> None:
    """Computes the logits of what `place` returned, in evaluation mode."""
    self._last = self._evaluate(placed[1])

  def wait(self) -> None:
    """Waits for the result of the last call."""
    tf.nest.map_structure(lambda x: x.numpy(), self._last)


def _optimizer(
  train: ConfigDict, network: keras.Model
) -> keras.optimizers.Optimizer:
  options = {'epsilon': 1e-8, 'global_clipnorm': train.clip_norm or None}
  if train.optimizer == 'adam':
    return keras.optimizers.Adam(train.learning_rate, **options)
  made = keras.optimizers.AdamW(
    train.learning_rate, weight_decay=train.weight_decay, **options
  )
  vectors = [v for v in network.trainable_variables if len(v.shape) <= 1]
  made.exclude_from_weight_decay(var_list=vectors)
  return made


def _network(model: ConfigDict, batch_shape: tuple, found: dict) -> keras.Model:
  """Returns f32[B, W, T, F] -> f32[B, W, C]; adds its variables to `found`."""
  windows = keras.Input(batch_shape=batch_shape)
  b, w, t, f = batch_shape
  if model.name != 'lstm':
    x = _conv_stack(windows, model.cnn, found)
  elif model.lstm.bands_as_steps:
    x = ops.swapaxes(windows, 2, 3)
  else:
    steps = t // model.lstm.stack_frames
    x = windows[:, :, : steps * model.lstm.stack_frames]
    x = ops.reshape(x, (b, w, steps, -1))
  if model.name != 'cnn':
    x = _lstm(x, model.lstm, found)
  x = ops.reshape(x, (b, w, -1))
  for i, size in enumerate((*model.dense.sizes, model.num_genres)):
    hidden = i < len(model.dense.sizes)
    dense = layers.Dense(size, model.dense.activation if hidden else None)
    x = dense(x)
    x = layers.Dropout(model.dense.dropout[i])(x) if hidden else x
    name = f'Head_0/Dense_{i}/'
    found |= {name + 'kernel': dense.kernel, name + 'bias': dense.bias}
  return keras.Model(windows, x)


def _conv_stack(x: Any, cnn: ConfigDict, found: dict) -> Any:
  """Maps f32[B, W, T, F] to f32[B, W, S, D]."""
  b, w, t, f = x.shape
  frames, bands = cnn.stack_frames, cnn.stack_bands
  x = x[:, :, : t // frames * frames, : f // bands * bands]
  x = ops.reshape(x, (b * w, t // frames, frames, f // bands, bands))
  x = ops.transpose(x, (0, 1, 3, 2, 4))
  x = ops.reshape(x, (b * w, t // frames, f // bands, frames * bands))
  for i, size in enumerate(cnn.filters):
    normed, name = cnn.norm != 'none', f'ConvStack_0/ConvBlock_{i}/'
    pool = layers.MaxPooling2D((cnn.pool_frames[i], cnn.pool_bands[i]))
    is_first = cnn.norm == 'batch_after_pool'
    conv = layers.Conv2D(
      size, cnn.kernel_size, padding=cnn.padding.lower(), use_bias=not normed
    )
    x = pool(conv(x)) if is_first else conv(x)
    found[name + 'Conv_0/kernel'] = conv.kernel
    if normed:
      name += 'BatchNorm_0/'
      norm = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
      x = norm(x)
      found |= {name + 'scale': norm.gamma, name + 'bias': norm.beta}
      found[name + 'mean'] = norm.moving_mean
      found[name + 'var'] = norm.moving_variance
    else:
      found[name + 'Conv_0/bias'] = conv.bias
    x = layers.Activation(cnn.activation)(x)
    x = x if is_first else pool(x)
    x = layers.Dropout(cnn.dropout[i])(x)
  if cnn.readout in ('steps', 'flatten'):
    steps = x.shape[1] if cnn.readout == 'steps' else 1
    return ops.reshape(x, (b, w, steps, -1))
  x = ops.mean(x, 2)
  if cnn.readout == 'step_means':
    return ops.reshape(x, (b, w, *x.shape[1:]))
  return ops.reshape(_mean_max(x, cnn.readout), (b, w, 1, -1))


def _lstm(x: Any, settings: ConfigDict, found: dict) -> Any:
  """Maps f32[B, W, S, D] to f32[B W, R]."""
  b, w, s, _ = x.shape
  lstm = layers.LSTM(
    settings.hidden_size,
    dropout=settings.input_dropout,
    recurrent_dropout=settings.recurrent_dropout,
    return_sequences=True,
  )
  x = ops.reshape(lstm(ops.reshape(x, (b, w * s, -1))), (b * w, s, -1))
  found['WindowLstm_0/input_kernel'] = lstm.cell.kernel
  found['WindowLstm_0/recurrence/kernel'] = lstm.cell.recurrent_kernel
  found['WindowLstm_0/bias'] = lstm.cell.bias
  if settings.readout in ('last', 'flatten'):
    x = x[:, -1] if settings.readout == 'last' else ops.reshape(x, (b * w, -1))
  else:
    x = _mean_max(x, settings.readout)
  return layers.Dropout(settings.output_dropout)(x)


def _mean_max(x: Any, how: str) -> Any:
  """Pools f32[N, S, D] over its steps to f32[N, D], or f32[N, 2 D]."""
  mean = ops.mean(x, 1)
  return mean if how == 'mean' else ops.concatenate([mean, ops.max(x, 1)], -1)
