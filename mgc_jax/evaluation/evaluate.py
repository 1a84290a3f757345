"""Evaluates a model on every window and every track exactly once."""

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from mgc_jax.config.schema import EvalConfig, WindowsConfig
from mgc_jax.datasets.splits import Examples
from mgc_jax.distributed.mesh import process_part, replicated, shard_batch
from mgc_jax.evaluation import metrics
from mgc_jax.evaluation.predictions import Predictions
from mgc_jax.models.windows import grid_windows

if TYPE_CHECKING:  # imports TensorFlow, which other readers do not need
  from mgc_jax.datasets.reader import Reader

Forward = Callable[..., tuple[jax.Array, jax.Array]]


# Cached, so that a run traces it once for validation and final evaluation.
@functools.lru_cache(maxsize=4)
def make_forward(
  model: nn.Module, windows: WindowsConfig, mesh: Mesh
) -> Forward:
  """Returns a jitted function from frames to logits.

  Args:
    model: made by `create_model`.
    windows: `config.windows`, which defines the grid of windows.
    mesh: each batch is sharded over its devices, and all logits are replicated
      to all of them.

  Returns:
    A function of (variables, band_mean f32[F], band_std f32[F], frames
    f16[B, N, F], num_frames i32[B]) that returns f32[B, W, C] logits and
    bool[B, W], True where the window is real.
  """
  return jax.jit(
    functools.partial(_forward, model=model, settings=windows),
    out_shardings=replicated(mesh),
  )


def _forward(
  variables: dict,
  band_mean: jax.Array,
  band_std: jax.Array,
  frames: jax.Array,
  num_frames: jax.Array,
  *,
  model: nn.Module,
  settings: WindowsConfig,
) -> tuple[jax.Array, jax.Array]:
  windows, mask = grid_windows(
    frames, num_frames, band_mean, band_std, settings
  )
  # `apply` returns one value because no collection is mutable.
  return cast(jax.Array, model.apply(variables, windows)), mask


def window_logits(
  forward: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]],
  batches: Iterable[dict[str, np.ndarray]],
  num_examples: int,
  mesh: Mesh,
) -> tuple[np.ndarray, np.ndarray]:
  """Computes the logits of all windows in some batches.

  Args:
    forward: made by `make_forward`, with variables and band statistics bound.
    batches: this process's rows of each batch.
    num_examples: E, the examples in all batches; the rows after them are
      padding.
    mesh: each batch is sharded over its devices.

  Returns:
    f32[E, W, C] logits and bool[E, W] mask of the examples, in the order of
    the batches; the same in every process.
  """
  found: list[tuple[np.ndarray, ...]] = []
  for batch in batches:
    placed = shard_batch(batch, mesh)
    outputs = forward(placed['frames'], placed['num_frames'])
    found.append(tuple(np.asarray(output) for output in outputs))
  logits, mask = (np.concatenate(column) for column in zip(*found, strict=True))
  return logits[:num_examples], mask[:num_examples]


def score(
  predictions: Predictions,
  temperature: float = 1.0,
  num_bootstrap: int = 2000,
) -> dict:
  """Scores the windows and tracks of predictions.

  Args:
    predictions: uncalibrated.
    temperature: the logits are divided by it.
    num_bootstrap: number of bootstrap samples for the interval.

  Returns:
    The fields of `metrics.window_scores` and `metrics.track_scores`, and
    `track_loss`, the mean negative log-likelihood of the tracks.
  """
  probabilities = predictions.track_probabilities(temperature)
  label = predictions.track_label()
  logits = predictions.logits / temperature
  losses = metrics.negative_log_likelihood(probabilities, label)
  return {
    **metrics.window_scores(logits, predictions.mask, predictions.label),
    **metrics.track_scores(
      probabilities, label, predictions.genres, num_bootstrap
    ),
    'track_loss': float(losses.mean()),
  }


def source_scores(
  predictions: Predictions,
  source: dict[str, str],
  temperature: float = 1.0,
  num_bootstrap: int = 2000,
) -> dict[str, dict]:
  """Scores the tracks of each source separately.

  The sources of a mixed data set differ in sound. A model that is good on only
  one of them may have learned to recognise the source.

  Args:
    predictions: uncalibrated.
    source: maps each `track_id` to its source, '' if unknown.
    temperature: the logits are divided by it.
    num_bootstrap: number of bootstrap samples for the interval.

  Returns:
    Maps each source to `num_tracks`, `track_accuracy`, `track_accuracy_ci95`.
  """
  probabilities = predictions.track_probabilities(temperature)
  label = predictions.track_label()
  of_track = np.array([source[t] for t in predictions.tracks()])
  found = {}
  for name in sorted(set(of_track) - {''}):
    scores = metrics.track_scores(
      probabilities[of_track == name],
      label[of_track == name],
      predictions.genres,
      num_bootstrap,
    )
    names = ('num_tracks', 'track_accuracy', 'track_accuracy_ci95')
    found[name] = {key: scores[key] for key in names}
  return found


def predict_examples(
  forward: Callable,
  reader: 'Reader',
  examples: Examples,
  settings: EvalConfig,
  mesh: Mesh,
) -> Predictions:
  """Runs a model on examples, each exactly once.

  Args:
    forward: made by `make_forward`, with variables and band statistics bound.
    reader: reads the records that `examples` refers to.
    examples: the excerpts or windows to predict.
    settings: `config.eval`.
    mesh: each batch is sharded over its devices.

  Returns:
    Uncalibrated predictions; the same in every process.
  """
  order = np.arange(len(examples))
  size = settings.batch_size
  batches = tqdm(
    reader.batches(examples, order, size, part=process_part()),
    desc='evaluate',
    total=-(-len(order) // size),
    leave=False,
    disable=None,
  )
  logits, mask = window_logits(forward, batches, len(order), mesh)
  index = reader.index
  return Predictions(
    logits=logits,
    mask=mask,
    label=index.label[examples.rows],
    track_id=index.track_id[examples.rows],
    genres=index.genres,
    artist=index.artist[examples.rows],
  )
