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

from mgc_jax.datasets.splits import Splits
from mgc_jax.distributed.mesh import (
  check_batch_size,
  data_mesh,
  in_every_process,
  is_writer,
  replicate,
  replicated,
)
from mgc_jax.evaluation.evaluate import make_forward, predict_examples, score
from mgc_jax.models import bundle as bundles
from mgc_jax.models import create_model
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training.batch_norm import PreciseBatchNorm
from mgc_jax.training.checkpoint import Checkpoints
from mgc_jax.training.feed import (
  Resident,
  Streamed,
  epoch_order,
  genre_weights,
  is_resident,
  resident_bytes,
)
from mgc_jax.training.finetune import start_from_bundle
from mgc_jax.training.metrics_log import MetricsLog
from mgc_jax.training.optimizer import create_optimizer, learning_rate
from mgc_jax.training.progress import Progress
from mgc_jax.training.step import TrainState, create_state, train_step
from mgc_jax.training.window_sums import WindowSums

_logger = logging.getLogger(__name__)

if TYPE_CHECKING:  # tensorflow: not needed to train from another reader
  from mgc_jax.datasets.reader import Reader

PyTree = Any
METRICS_FILE = 'metrics.jsonl'


class Trainer:
  """A model, its data and its devices; `run` is the loop."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: pathlib.Path,
    splits: Splits,
    reader: 'Reader',
  ):
    """Builds everything; nothing is trained yet.

    Args:
      config: valid; `model.num_genres` is that of the data.
      workdir: receives checkpoints, bundle and metrics.
      splits: of the reader's index.
      reader: of the records.

    Raises:
      ConfigError: batches, windows or the choice of the best epoch do not fit
        the data or the devices, or `train.init_from` does not fit the model.
      DataError: there is nothing to train on, the run was begun on other data,
        or a checkpoint or the bundle of `train.init_from` is damaged.
    """
    self._config = FrozenConfigDict(config)
    self._workdir = workdir
    self._index = reader.index
    self._splits = splits
    self._train = splits.examples['train']
    self._valid = splits.examples['valid']
    self._mesh = data_mesh()
    self._check()
    train = config.train
    share = train.batch_size // config.model.num_members
    self._steps_per_epoch = -(-len(self._train) // share)
    self._reader = reader
    self._model = create_model(config)
    self._tx = create_optimizer(train, self._steps_per_epoch)
    rate = learning_rate(train, self._steps_per_epoch)
    # The rate of the last step, computed on the device that has the step count.
    self._learning_rate = jax.jit(lambda step: rate(step - 1))
    self._evaluated = PreciseBatchNorm(config, reader, self._train, self._mesh)
    self._forward = make_forward(self._model, config.windows, self._mesh)
    # Computed there: a key of this process's device could not be put on all.
    make_key = jax.jit(
      lambda: jax.random.fold_in(jax.random.key(config.seed), 1),
      out_shardings=replicated(self._mesh),
    )
    self._key = make_key()  # of the run; steps fold theirs from it
    self._checkpoints = Checkpoints(workdir / 'checkpoints')
    self._begun = self._restored(self._checkpoints)

  def run(self) -> None:
    """Trains to the end, from the latest checkpoint where there is one.

    Raises:
      ConfigError: the training split is to lie on the device, and does not fit.
      DataError: a record is damaged, or what is to be saved cannot be written.
    """
    checkpoints, state, progress = self._checkpoints, *self._begun
    if not progress.is_finished(self._config.train):
      self._feed = self._make_feed()
    # A line may have been written for an epoch whose checkpoint was not.
    log = MetricsLog(self._workdir / METRICS_FILE, progress.epoch)
    while not progress.is_finished(self._config.train):
      state, line = self._train_epoch(state, progress, checkpoints)
      progress = self._evaluate(state, progress, line)
      log.append(line)
      checkpoints.save(state, progress)
    checkpoints.close()
    self._feed = None  # what it holds is not needed to evaluate
    if progress.is_out_of_patience(self._config.train):
      best = progress.best_epoch + 1
      _logger.info('no better epoch than %d; stopped', best)

  def _restored(self, checkpoints: Checkpoints) -> tuple[TrainState, Progress]:
    """Returns state and progress of the run, or those of one not begun."""
    mean, std = self._index.band_stats(self._train.rows)
    initial = create_state(self._model, self._tx, self._config, mean, std)
    fingerprint = self._splits.fingerprint(self._index)
    found = checkpoints.restore(replicate(initial, self._mesh))
    if found is None:
      initial = start_from_bundle(initial, self._config, self._index.genres)
      return replicate(initial, self._mesh), Progress(fingerprint)
    state, progress = found
    if progress.data_fingerprint != fingerprint:
      raise DataError(
        f'{self._workdir}: this run was begun on other data '
        f'({progress.data_fingerprint}, now {fingerprint}); use another '
        '--workdir'
      )
    _logger.info('resumed at step %d', int(state.step))
    return state, progress

  def _check(self) -> None:
    config = self._config
    train = config.train
    part = train.batch_size // train.accumulate_steps
    name = 'train.batch_size'
    if train.accumulate_steps > 1:
      name += ' / config.train.accumulate_steps'
    check_batch_size(name, part, self._mesh)
    # Not in `validate`: a bundle, which says how many there are, has no batch.
    if part % config.model.num_members:
      raise ConfigError(
        f'config.model.num_members={config.model.num_members}: must divide '
        f'config.{name}={part}'
      )
    check_batch_size('eval.batch_size', config.eval.batch_size, self._mesh)
    if not len(self._train):
      raise DataError('the training split is empty')
    untrained = set(self._index.label) - set(
      self._index.label[self._train.rows]
    )
    if untrained:
      names = ', '.join(self._index.genres[i] for i in sorted(untrained))
      raise DataError(f'no track of {names} in the training split')
    longest = int(self._train.num_frames.max())
    if config.windows.num_frames > longest:
      raise ConfigError(
        f'config.windows.num_frames={config.windows.num_frames}: longer than '
        f'the longest training excerpt ({longest} frames)'
      )
    chooses = config.train.select == 'best' or config.train.patience_epochs
    if chooses and not len(self._valid):
      raise ConfigError(
        'config.train.select=best: there is no validation split to choose '
        'by; set config.train.select=last and config.train.patience_epochs=0'
      )

  def _train_epoch(
    self,
    state: TrainState,
    progress: Progress,
    checkpoints: Checkpoints,
  ) -> tuple[TrainState, dict[str, Any]]:
    """Returns the state after what is left of an epoch, and its line."""
    train, epoch = self._config.train, progress.epoch + 1
    every = train.checkpoint_every_steps
    sums = replicate(WindowSums.of(progress.sums), self._mesh)
    begun, start_s = progress.steps_done, time.monotonic()
    order = epoch_order(
      len(self._train),
      train.batch_size,
      self._config.seed,
      epoch,
      self._config.model.num_members,
    ).reshape(-1, train.batch_size)
    bar = tqdm(
      desc=f'epoch {epoch + 1}/{train.num_epochs}',
      total=self._steps_per_epoch,
      initial=begun,
      leave=False,
      disable=None,
    )
    assert self._feed is not None  # `run` has made it
    steps, done = self._feed.run(state, sums, order[begun:], self._key), begun
    with bar:
      for state, sums, count in steps:
        bar.update(count)
        done += count
        # The epoch's end has a checkpoint of its own, after the evaluation.
        due = every and done // every > (done - count) // every
        if due and done < self._steps_per_epoch:
          checkpoints.save(state, progress.within_epoch(done, sums.to_list()))
    found = sums.compute()  # waits for the devices
    seconds = time.monotonic() - start_s
    num_examples = (self._steps_per_epoch - begun) * train.batch_size
    rate = self._learning_rate(state.step)
    return state, {
      'epoch': epoch,
      'step': int(state.step),
      **{f'train_{key}': value for key, value in found.items()},
      'examples_per_s': num_examples / seconds,
      'learning_rate': float(np.asarray(rate)),
    }

  def _make_feed(self) -> Streamed | Resident:
    """Puts the training split where `config.data.cache` says."""
    weights = None
    if self._config.train.class_weights:
      label = self._index.label[self._train.rows]
      weights = genre_weights(label, len(self._index.genres))
    needed = resident_bytes(self._train, self._index.band_sums.shape[-1])
    # Free memory may differ from process to process.
    resident = in_every_process(is_resident(self._config.data.cache, needed))
    where = (
      f'on the device, {needed / 2**20:.0f} MiB' if resident else 'streamed'
    )
    _logger.info('training split: %s', where)
    step = functools.partial(
      train_step, model=self._model, tx=self._tx, config=self._config
    )
    feed = Resident if resident else Streamed
    return feed(step, self._reader, self._train, weights, self._mesh)

  def _evaluate(
    self, state: TrainState, progress: Progress, line: dict[str, Any]
  ) -> Progress:
    """Ends an epoch, whose line it adds to; evaluates where it is time."""
    train = self._config.train
    ended = progress.epoch + 2  # epochs
    if ended % train.evaluate_every_epochs and ended < train.num_epochs:
      return progress.after_epoch(None)
    variables = self._evaluated(state)
    valid = self._validate(state, variables)
    line.update({f'valid_{name}': value for name, value in valid.items()})
    progress = progress.after_epoch(valid)
    # Bundle and line before the checkpoint: what a killed run has written
    # after its latest checkpoint, the resumed run writes again, the same.
    if train.select == 'last' or progress.is_best:
      self._save_bundle(state, variables, progress.epoch)
    return progress

  def _validate(self, state: TrainState, variables: PyTree) -> dict[str, float]:
    """Scores the validation split; nothing where it is empty."""
    if not len(self._valid):
      return {}
    forward = functools.partial(
      self._forward, variables, state.band_mean, state.band_std
    )
    found = score(
      predict_examples(
        forward, self._reader, self._valid, self._config, self._mesh
      ),
      num_bootstrap=self._config.eval.num_bootstrap,
    )
    names = ('loss', 'window_accuracy', 'track_loss', 'track_accuracy')
    return {name: found[name] for name in names}

  def _save_bundle(
    self, state: TrainState, variables: PyTree, epoch: int
  ) -> None:
    if not is_writer():
      return
    config = bundles.as_trained(self._config, self._splits.protocol)
    bundle = bundles.Bundle(
      config=config,
      genres=self._index.genres,
      variables=jax.device_get(variables),
      band_mean=np.asarray(state.band_mean),
      band_std=np.asarray(state.band_std),
      info={
        'seed': config.seed,
        'select': config.train.select,
        'epoch': epoch,
        'source': config.data.source,
        'init_from': config.train.init_from,
      },
    )
    bundles.save(bundle, self._workdir / 'bundle')
