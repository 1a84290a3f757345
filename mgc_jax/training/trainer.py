"""Trains a model: the stages, and `train`, which calls them in their order."""

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from mgc_jax.config.schema import Config
from mgc_jax.datasets.excerpt_index import ExcerptIndex
from mgc_jax.datasets.splits import Splits
from mgc_jax.distributed.mesh import (
  check_batch_size,
  data_mesh,
  in_every_process,
  replicate,
  replicated,
)
from mgc_jax.evaluation.evaluate import make_forward, predict_examples, score
from mgc_jax.models import bundle as bundles
from mgc_jax.models import create_model
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.training import feed as feeds
from mgc_jax.training.batch_norm import PreciseBatchNorm
from mgc_jax.training.checkpoint import Checkpoints
from mgc_jax.training.finetune import start_from_bundle, start_from_encoder
from mgc_jax.training.optimizer import create_optimizer, learning_rate
from mgc_jax.training.progress import Progress
from mgc_jax.training.run_clock import RunClock
from mgc_jax.training.run_writer import RunWriter
from mgc_jax.training.step import TrainState, create_state, train_step
from mgc_jax.training.window_sums import NO_STEP, WindowSums

_logger = logging.getLogger(__name__)

if TYPE_CHECKING:  # tensorflow: not needed to train from another reader
  from mgc_jax.datasets.reader import Reader

PyTree = Any
Feed = feeds.Streamed | feeds.Resident


@dataclasses.dataclass(frozen=True)
class Run:
  """What the stages of a training run share; nothing in it changes."""

  config: Config
  splits: Splits
  reader: 'Reader'
  mesh: Mesh
  model: nn.Module
  tx: optax.GradientTransformation
  steps_per_epoch: int
  learning_rate: Callable[[jax.Array], jax.Array]  # of the latest step done
  key: jax.Array  # each step folds its number into it
  # From a state to the variables that are evaluated and saved.
  evaluated: Callable[[TrainState], PyTree]
  forward: Callable[..., tuple[jax.Array, jax.Array]]
  checkpoints: Checkpoints
  writer: RunWriter

  @property
  def fingerprint(self) -> str:
    """Returns the digest that identifies data and splits."""
    return self.splits.fingerprint(self.reader.index)


def train(
  config: Config, splits: Splits, reader: 'Reader', writer: RunWriter
) -> None:
  """Trains to the end, from the latest checkpoint if there is one.

  Args:
    config: valid; `model.num_genres` is the number of genres of the data.
    splits: the splits of the reader's index.
    reader: reads the records.
    writer: writes to the run's folder, which holds the checkpoints.

  Raises:
    ConfigError: the configuration does not fit the data, the devices or the
      bundle that `train.init_from` names.
    DataError: a record, checkpoint or bundle is damaged, the run was started on
      other data, a file cannot be written, or a loss, gradient or update is not
      finite.
  """
  check_run(config, splits, reader.index, data_mesh())
  run = create_run(config, splits, reader, writer)
  state, progress = restore_or_init(run)
  # Only now: a run that cannot start must not write its settings to the folder.
  writer.start(
    config, reader.index, splits.examples['train'], progress.epochs_done
  )
  with contextlib.closing(writer):
    if not progress.is_finished(config.train):
      feed = make_feed(run)
      clock = RunClock(config.train.num_epochs * run.steps_per_epoch)
      while not progress.is_finished(config.train):
        state, metrics = train_epoch(run, feed, state, progress, clock)
        progress, variables, scores = evaluate_epoch(run, state, progress)
        save(run, state, progress, variables, {**metrics, **scores})
  run.checkpoints.close()
  if progress.is_out_of_patience(config.train):
    best = progress.epochs_at_best
    _logger.info('stopped, as no epoch since epoch %d was better', best)


def check_run(
  config: Config, splits: Splits, index: ExcerptIndex, mesh: Mesh
) -> None:
  """Checks what `Config.from_dict` cannot: the data and the devices.

  Args:
    config: the whole configuration, valid.
    splits: the splits of the index.
    index: the index of the excerpts.
    mesh: the devices that share each batch.

  Raises:
    ConfigError: batches, windows or the choice of the best epoch do not fit the
      data or the devices.
    DataError: there is nothing to train on, for a genre or at all.
  """
  train, examples = config.train, splits.examples['train']
  part = train.batch_size // train.accumulate_steps
  name = 'train.batch_size'
  if train.accumulate_steps > 1:
    name += ' / config.train.accumulate_steps'
  check_batch_size(name, part, mesh)
  # Not in `Config.from_dict`: a bundle has a number of members but no batch.
  if part % config.model.num_members:
    raise ConfigError(
      f'config.model.num_members={config.model.num_members}: must divide '
      f'config.{name}={part}'
    )
  check_batch_size('eval.batch_size', config.eval.batch_size, mesh)
  if not len(examples):
    raise DataError('the training split is empty')
  missing = set(index.label) - set(index.label[examples.rows])
  # A collection that is left out may have genres that no other one has.
  if missing and not config.data.test_source:
    names = ', '.join(index.genres[i] for i in sorted(missing))
    raise DataError(f'no track of {names} in the training split')
  longest = int(examples.num_frames.max())
  if config.windows.num_frames > longest:
    raise ConfigError(
      f'config.windows.num_frames={config.windows.num_frames}: longer than '
      f'the longest training excerpt ({longest} frames)'
    )
  chooses = train.select == 'best' or train.patience_epochs
  if chooses and not len(splits.examples['valid']):
    raise ConfigError(
      'config.train.select=best: there is no validation split; set '
      'config.train.select=last and config.train.patience_epochs=0'
    )


def create_run(
  config: Config, splits: Splits, reader: 'Reader', writer: RunWriter
) -> Run:
  """Creates what the stages share; `train` describes the arguments."""
  train, mesh = config.train, data_mesh()
  examples = splits.examples['train']
  share = train.batch_size // config.model.num_members
  steps_per_epoch = -(-len(examples) // share)
  schedule = learning_rate(train, steps_per_epoch)
  model = create_model(config)
  # Under jit, as a key on this process's device could not be put on all others.
  make_key = jax.jit(
    lambda: jax.random.fold_in(jax.random.key(config.seed), 1),
    out_shardings=replicated(mesh),
  )
  return Run(
    config=config,
    splits=splits,
    reader=reader,
    mesh=mesh,
    model=model,
    tx=create_optimizer(train, steps_per_epoch),
    steps_per_epoch=steps_per_epoch,
    # On the device, which has the step; the first step is the schedule's 0.
    learning_rate=jax.jit(lambda step: schedule(step - 1)),
    key=make_key(),
    evaluated=PreciseBatchNorm(config, reader, examples, mesh),
    forward=make_forward(model, config.windows, mesh),
    checkpoints=Checkpoints(writer.workdir / 'checkpoints'),
    writer=writer,
  )


def restore_or_init(run: Run) -> tuple[TrainState, Progress]:
  """Returns the state and the progress that training starts from.

  The state is the first of these that there is:

  1. the latest checkpoint in the run's folder;
  2. the weights of the bundle that `config.train.init_from` names;
  3. the weights of the encoder, if `config.model.name` is one, with a new head;
  4. random weights, determined by `config.seed`.

  Raises:
    ConfigError: the bundle does not fit the model.
    DataError: the checkpoint or the bundle cannot be read, or the checkpoint is
      from a run on other data.
  """
  config, index = run.config, run.reader.index
  mean, std = index.band_stats(run.splits.examples['train'].rows)
  initial = create_state(run.model, run.tx, config, mean, std)
  restored = run.checkpoints.restore(replicate(initial, run.mesh))
  if restored is None:
    initial = start_from_encoder(initial, config)
    initial = start_from_bundle(initial, config, index.genres)
    return replicate(initial, run.mesh), Progress(run.fingerprint)
  state, progress = restored
  if progress.data_fingerprint != run.fingerprint:
    raise DataError(
      f'{run.writer.workdir}: this run was started on other data '
      f'({progress.data_fingerprint}, now {run.fingerprint}); use another '
      '--workdir'
    )
  _logger.info('resumed at step %d', int(state.step))
  return state, progress


def make_feed(run: Run) -> Feed:
  """Returns the feed of the training split that `config.data.cache` asks for.

  Raises:
    ConfigError: the split is to be on the device, and does not fit.
    DataError: a record is damaged.
  """
  config, index = run.config, run.reader.index
  examples, weights = run.splits.examples['train'], None
  if config.train.class_weights:
    label = index.label[examples.rows]
    weights = feeds.genre_weights(label, len(index.genres))
  needed = feeds.resident_bytes(examples, index.band_sums.shape[-1])
  # Free memory may differ between processes.
  resident = in_every_process(feeds.is_resident(config.data.cache, needed))
  where = f'on the device, {needed / 2**20:.0f} MiB' if resident else 'streamed'
  _logger.info('training split: %s', where)
  step = functools.partial(
    train_step, model=run.model, tx=run.tx, config=config
  )
  make = feeds.Resident if resident else feeds.Streamed
  return make(step, run.reader, examples, weights, run.mesh)


def train_epoch(
  run: Run, feed: Feed, state: TrainState, progress: Progress, clock: RunClock
) -> tuple[TrainState, dict[str, Any]]:
  """Trains on the rest of the epoch in progress.

  Args:
    run: what the stages share.
    feed: runs the steps.
    state: donated.
    progress: how much of the epoch is done already.
    clock: estimates what is left, for the progress bar.

  Returns:
    The state at the epoch's end, and the epoch's metrics.

  Raises:
    DataError: a record is damaged, a checkpoint cannot be written, or a loss,
      gradient or update is not finite.
  """
  train, epoch = run.config.train, progress.epochs_done
  order = feeds.epoch_order(
    len(run.splits.examples['train']),
    train.batch_size,
    run.config.seed,
    epoch,
    run.config.model.num_members,
  ).reshape(-1, train.batch_size)[progress.steps_done :]
  sums = before = replicate(WindowSums.of(progress.sums), run.mesh)
  done, start_s = progress.steps_done, time.monotonic()
  bar = tqdm(
    desc=f'epoch {epoch + 1}/{train.num_epochs}',
    total=run.steps_per_epoch,
    initial=done,
    leave=False,
    disable=None,
    postfix='compiling' if clock.is_new else None,
  )
  steps = feed.run(state, sums, order, run.key)
  with bar:
    for state, sums, count in steps:
      done += count
      left = clock.after(epoch * run.steps_per_epoch + done)
      bar.set_postfix_str(left, refresh=False)
      bar.update(count)
      if _passes(feeds.STEPS_PER_CHUNK, done, count):
        # The sums before these: the device goes on while the host reads them.
        _check_finite(run, before, epoch)
        before = sums
      # At its end an epoch is saved after the evaluation.
      if done < run.steps_per_epoch and _passes(
        train.checkpoint_every_steps, done, count
      ):
        _check_finite(run, sums, epoch)
        within = progress.within_epoch(done, sums.to_list())
        run.checkpoints.save(state, within)
  _check_finite(run, sums, epoch)  # waits for the devices
  seconds = time.monotonic() - start_s
  means = sums.compute()
  return state, {
    'epoch': epoch + 1,
    'step': int(state.step),
    'train_loss': means['loss'],
    'train_window_accuracy': means['window_accuracy'],
    'grad_norm': means['grad_norm'],
    'update_norm': means['update_norm'],
    'examples_per_s': order.size / seconds,
    'learning_rate': float(np.asarray(run.learning_rate(state.step))),
  }


def evaluate_epoch(
  run: Run, state: TrainState, progress: Progress
) -> tuple[Progress, PyTree | None, dict[str, float]]:
  """Ends the epoch in progress, and evaluates it if it is time to.

  Args:
    run: what the stages share.
    state: at the end of the epoch.
    progress: before the end of the epoch.

  Returns:
    The progress after the epoch; the variables that were evaluated, or None;
    and their scores on the validation split, for the metrics.

  Raises:
    DataError: a record is damaged.
  """
  train = run.config.train
  done = progress.epochs_done + 1
  if done % train.evaluate_every_epochs and done < train.num_epochs:
    return progress.after_epoch(None), None, {}
  variables = run.evaluated(state)
  scores = score_validation(run, state, variables)
  metrics = {f'valid_{name}': value for name, value in scores.items()}
  return progress.after_epoch(scores), variables, metrics


def score_validation(
  run: Run, state: TrainState, variables: PyTree
) -> dict[str, float]:
  """Returns losses and accuracies; nothing if there is no validation split.

  Args:
    run: what the stages share.
    state: has the band statistics.
    variables: to be evaluated.
  """
  examples = run.splits.examples['valid']
  if not len(examples):
    return {}
  forward = functools.partial(
    run.forward, variables, state.band_mean, state.band_std
  )
  found = score(
    predict_examples(forward, run.reader, examples, run.config.eval, run.mesh),
    num_bootstrap=run.config.eval.num_bootstrap,
  )
  names = ('loss', 'window_accuracy', 'track_loss', 'track_accuracy')
  return {name: found[name] for name in names}


def save(
  run: Run,
  state: TrainState,
  progress: Progress,
  variables: PyTree | None,
  metrics: dict[str, Any],
) -> None:
  """Writes the bundle if it is to be replaced, the metrics, and a checkpoint.

  Args:
    run: what the stages share.
    state: at the end of the epoch.
    progress: after the epoch.
    variables: that were evaluated; None if the epoch was not evaluated.
    metrics: of the epoch.

  Raises:
    DataError: the checkpoint cannot be written.
    OSError: another file cannot be written.
  """
  # The checkpoint is last: what a run that is killed has written since its
  # latest checkpoint, the resumed run writes again, with the same content.
  if variables is not None and (
    run.config.train.select == 'last' or progress.is_best
  ):
    run.writer.bundle(_make_bundle(run, state, variables, metrics['epoch']))
  run.writer.metrics(metrics)
  run.checkpoints.save(state, progress)  # every process saves its part


def _make_bundle(
  run: Run, state: TrainState, variables: PyTree, epoch: int
) -> bundles.Bundle:
  config = bundles.as_trained(run.config, run.splits.protocol)
  return bundles.Bundle(
    config=config,
    genres=run.reader.index.genres,
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


def _passes(every: int, done: int, count: int) -> bool:
  """Returns whether the last `count` of `done` steps pass a multiple of every.

  Never if it is 0.
  """
  return bool(every) and done // every > (done - count) // every


def _check_finite(run: Run, sums: WindowSums, epoch: int) -> None:
  """Raises `DataError` if a step that was added to the sums has failed."""
  step = int(sums.failed_step)  # waits until these steps are done
  if step != NO_STEP:
    # Every process stops at this place, so each can wait for the others' part.
    run.checkpoints.close()
    raise DataError(
      f'{run.writer.workdir}: the loss, its gradient or the update of the '
      f'weights is not finite in epoch {epoch + 1}, step {step}; use a lower '
      'config.train.learning_rate, with another --workdir'
    )
