"""The training loop: named stages in a fixed order."""

import functools
import logging
import pathlib
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict
from tqdm import tqdm

from mgc_jax import bundle as bundles
from mgc_jax.bundle import Bundle
from mgc_jax.checkpoint import Checkpoints
from mgc_jax.datasets.splits import Split
from mgc_jax.errors import ConfigError, DataError
from mgc_jax.evaluate import make_forward, score_examples
from mgc_jax.metrics import WindowSums
from mgc_jax.metrics_log import MetricsLog
from mgc_jax.models import create_model
from mgc_jax.optim import create_optimizer, learning_rate
from mgc_jax.partition import check_batch_size, data_mesh, shard_batch
from mgc_jax.train_state import TrainState, create_state, train_step

_logger = logging.getLogger(__name__)

if TYPE_CHECKING:  # tensorflow: not needed to train from another reader
  from mgc_jax.input_pipeline import Reader

METRICS_FILE = 'metrics.jsonl'


def epoch_order(
  num_examples: int, batch_size: int, seed: int, epoch: int
) -> np.ndarray:
  """Returns the order in which an epoch visits the examples.

  Args:
    num_examples: n; every one is visited.
    batch_size: the order is filled up from its own start to whole batches.
    seed: `config.seed`.
    epoch: from 0.

  Returns:
    i64[ceil(n / batch_size) * batch_size].
  """
  order = np.random.default_rng([seed, epoch]).permutation(num_examples)
  return np.resize(order, -(-num_examples // batch_size) * batch_size)


def genre_weights(label: np.ndarray, num_genres: int) -> np.ndarray:
  """Returns f64[C], the inverse of each genre's share; 1 where all are equal.

  Args:
    label: i64[n] of the training examples.
    num_genres: C.
  """
  counts = np.bincount(label, minlength=num_genres)
  return len(label) / (num_genres * np.maximum(counts, 1))


class Trainer:
  """A model, its data and its devices; `run` is the loop."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: pathlib.Path,
    split: Split,
    reader: 'Reader',
  ):
    """Builds everything; nothing is trained yet.

    Args:
      config: valid; `model.num_genres` is that of the data.
      workdir: receives checkpoints, bundle and metrics.
      split: of the reader's index.
      reader: of the records.

    Raises:
      ConfigError: batches, windows or the choice of the best epoch do not fit
        the data or the devices.
      DataError: there is nothing to train on.
    """
    self._config = FrozenConfigDict(config)
    self._workdir = workdir
    self._index = reader.index
    self._train, self._valid = split.sides['train'], split.sides['valid']
    self._data_fingerprint = split.fingerprint(reader.index)
    self._mesh = data_mesh()
    self._check()
    train = config.train
    self._steps_per_epoch = -(-len(self._train) // train.batch_size)
    self._reader = reader
    self._model = create_model(config)
    self._tx = create_optimizer(train, self._steps_per_epoch)
    self._learning_rate = learning_rate(train, self._steps_per_epoch)
    self._step = jax.jit(
      functools.partial(
        train_step, model=self._model, tx=self._tx, config=self._config
      ),
      donate_argnums=0,
    )
    self._forward = make_forward(self._model, config.windows)
    mean, std = self._index.band_stats(self._train.rows)
    self._initial = create_state(self._model, self._tx, self._config, mean, std)

  def run(self) -> None:
    """Trains to the end, from the latest checkpoint where there is one."""
    checkpoints = Checkpoints(self._workdir / 'checkpoints', self._mesh)
    state, progress = checkpoints.restore(self._initial, self._not_begun())
    if progress['epoch'] >= 0:
      self._check_data(progress)
      _logger.info('resumed at step %d', int(state.step))
    # A line may have been written for an epoch whose checkpoint was not.
    log = MetricsLog(self._workdir / METRICS_FILE, progress['epoch'])
    while not self._finished(progress):
      epoch = progress['epoch'] + 1
      state, line = self._train_epoch(state, epoch)
      valid = self._validate(state)
      line.update({f'valid_{name}': value for name, value in valid.items()})
      progress = self._next_progress(progress, epoch, valid)
      # Bundle and line before the checkpoint: what a killed run has written
      # after its latest checkpoint, the resumed run writes again, the same.
      if self._config.train.select == 'last' or progress['best_epoch'] == epoch:
        bundles.save(self._bundle(state, line), self._workdir / 'bundle')
      log.append(line)
      checkpoints.save(state, progress)
    checkpoints.close()

  def _check(self) -> None:
    config = self._config
    check_batch_size('train.batch_size', config.train.batch_size, self._mesh)
    check_batch_size('eval.batch_size', config.eval.batch_size, self._mesh)
    if not len(self._train):
      raise DataError('the training side of the split is empty')
    untrained = set(self._index.label) - set(
      self._index.label[self._train.rows]
    )
    if untrained:
      names = ', '.join(self._index.genres[i] for i in sorted(untrained))
      raise DataError(f'no track of {names} on the training side of the split')
    longest = int(self._train.num_frames.max())
    if config.windows.num_frames > longest:
      raise ConfigError(
        f'config.windows.num_frames={config.windows.num_frames}: longer than '
        f'the longest training excerpt ({longest} frames)'
      )
    chooses = config.train.select == 'best' or config.train.patience_epochs
    if chooses and not len(self._valid):
      raise ConfigError(
        'config.train.select=best: the split has no validation side to choose '
        'by; set config.train.select=last and config.train.patience_epochs=0'
      )

  def _not_begun(self) -> dict[str, Any]:
    """Returns the progress of a run that has trained nothing."""
    return {
      'epoch': -1,
      'best_epoch': -1,
      'best_score': None,
      'data_fingerprint': self._data_fingerprint,
    }

  def _check_data(self, progress: dict[str, Any]) -> None:
    begun, now = progress['data_fingerprint'], self._data_fingerprint
    if begun != now:
      raise DataError(
        f'{self._workdir}: this run was begun on other data ({begun}, now '
        f'{now}); use another --workdir'
      )

  def _finished(self, progress: dict[str, Any]) -> bool:
    train, epoch = self._config.train, progress['epoch']
    waited = epoch - progress['best_epoch']
    if train.patience_epochs and waited >= train.patience_epochs:
      _logger.info(
        'stopped after epoch %d: no better one since %d',
        epoch,
        progress['best_epoch'],
      )
      return True
    return epoch + 1 >= train.num_epochs

  def _train_epoch(
    self, state: TrainState, epoch: int
  ) -> tuple[TrainState, dict[str, Any]]:
    """Returns the state after the epoch, and the epoch's line."""
    train, seed = self._config.train, self._config.seed
    order = epoch_order(len(self._train), train.batch_size, seed, epoch)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    weights = None
    if train.class_weights:
      label = self._index.label[self._train.rows]
      weights = genre_weights(label, len(self._index.genres))
    batches = self._reader.batches(
      self._train, order, train.batch_size, weights
    )
    sums, start_s = WindowSums.zero(), time.monotonic()
    name = f'epoch {epoch + 1}/{train.num_epochs}'
    bar = tqdm(batches, name, self._steps_per_epoch, leave=False, disable=None)
    for batch in bar:
      state, step_sums = self._step(state, shard_batch(batch, self._mesh), key)
      sums = sums.merge(step_sums)
    found = sums.compute()  # waits for the devices
    seconds = time.monotonic() - start_s
    return state, {
      'epoch': epoch,
      'step': int(state.step),
      **{f'train_{key}': value for key, value in found.items()},
      'examples_per_s': len(order) / seconds,
      'learning_rate': float(self._learning_rate(int(state.step) - 1)),
    }

  def _validate(self, state: TrainState) -> dict[str, float]:
    """Scores the validation side; nothing where it is empty."""
    if not len(self._valid):
      return {}
    forward = functools.partial(
      self._forward, state.variables(), state.band_mean, state.band_std
    )
    found = score_examples(
      forward, self._reader, self._valid, self._config, self._mesh
    )
    names = ('loss', 'window_accuracy', 'track_loss', 'track_accuracy')
    return {name: found[name] for name in names}

  def _next_progress(
    self, progress: dict[str, Any], epoch: int, valid: dict[str, float]
  ) -> dict[str, Any]:
    progress = {**progress, 'epoch': epoch}
    if not valid:
      return {**progress, 'best_epoch': epoch}
    # The loss decides between equal accuracies, which few tracks make common.
    rank = [valid['track_accuracy'], -valid['track_loss']]
    if progress['best_score'] is None or rank > progress['best_score']:
      progress.update(best_epoch=epoch, best_score=rank)
    return progress

  def _bundle(self, state: TrainState, line: dict[str, Any]) -> Bundle:
    config = ConfigDict(self._config)
    return Bundle(
      config=config,
      genres=self._index.genres,
      variables=jax.device_get(state.variables()),
      band_mean=np.asarray(state.band_mean),
      band_std=np.asarray(state.band_std),
      info={
        'seed': config.seed,
        'select': config.train.select,
        'epoch': line['epoch'],
        'source': config.data.source,
      },
    )
