"""Answers for anyone's audio: what `predict`, the collection and pages use."""

import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from ml_collections import ConfigDict

from mgc_jax.audio.decode import TOLERANCE_S, ExcerptReader
from mgc_jax.audio.log_mel import log_mel
from mgc_jax.config.rules import frame_rate_hz
from mgc_jax.evaluation import metrics
from mgc_jax.system.errors import DataError

if TYPE_CHECKING:  # JAX, or onnxruntime: only the one that is used
  from mgc_jax.inference.jax_export import Program
  from mgc_jax.inference.onnx_export import OnnxProgram

MIN_DURATION_S = 1.0  # as config.data.min_duration_s


@dataclasses.dataclass(frozen=True)
class WindowPrediction:
  """A window of a track."""

  start_s: float
  end_s: float
  probabilities: tuple[float, ...]  # of the genres, in the model's order


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a model says of a track."""

  path: str
  genres: tuple[str, ...]  # that the model knows, in its order
  genre: str
  probability: float
  top: tuple[tuple[str, float], ...]  # all genres with theirs, best first
  uncertain: bool  # probability under metrics.UNCERTAIN_UNDER
  duration_s: float  # of what was decoded
  windows: int
  warning: str  # what is wrong with the file; empty where it is whole
  timeline: tuple[WindowPrediction, ...] = dataclasses.field(repr=False)
  embedding: np.ndarray = dataclasses.field(repr=False)  # f32[D]

  def to_json(self, top: int, timeline: bool = False) -> dict:
    """Returns what a machine reads.

    Args:
      top: so many genres.
      timeline: whether the windows are in it.
    """
    found = {
      'path': self.path,
      'genre': self.genre,
      'probability': round(self.probability, 4),
      'top': [
        {'genre': genre, 'probability': round(probability, 4)}
        for genre, probability in self.top[:top]
      ],
      'uncertain': self.uncertain,
      'duration_s': round(self.duration_s, 2),
      'windows': self.windows,
      'warning': self.warning,
    }
    if timeline:
      found['timeline'] = [
        {
          'start_s': round(moment.start_s, 2),
          'end_s': round(moment.end_s, 2),
          'probabilities': [round(p, 4) for p in moment.probabilities],
        }
        for moment in self.timeline
      ]
    return found


@dataclasses.dataclass(frozen=True)
class Excerpt:
  """Frames of a part of a track."""

  start_s: float
  duration_s: float
  frames: np.ndarray  # f16[N, F]


class Excerpts(Protocol):
  """The excerpts of a track, which can be iterated over once."""

  @property
  def duration_s(self) -> float:
    """How much was decoded, known after the last excerpt."""
    ...

  @property
  def warning(self) -> str:
    """What is wrong with the file; empty where it is whole."""
    ...

  def __iter__(self) -> Iterator[Excerpt]:
    """Yields the excerpts in order."""
    ...


@dataclasses.dataclass(frozen=True)
class DecodedExcerpts:
  """All excerpts of a track, kept in memory."""

  excerpts: tuple[Excerpt, ...]
  duration_s: float
  warning: str

  def __iter__(self) -> Iterator[Excerpt]:
    """Yields the excerpts in order."""
    return iter(self.excerpts)


class Classifier:
  """A model, ready to answer; features and genres are its own."""

  def __init__(self, model: 'Program | OnnxProgram'):
    """Takes a model.

    Args:
      model: of `program.read` or `onnx_program.read`.
    """
    self._program = model
    self.genres = model.genres
    self.digest = model.digest  # of the weights and of all settings

  def predict(self, path: str | os.PathLike) -> Prediction:
    """Classifies a file, whatever its length, rate and channels.

    Args:
      path: of the audio file.

    Raises:
      DataError: it cannot be read, is silent, or under a second.
    """
    return self.answer(path, self.excerpts(path))

  def excerpts(self, path: str | os.PathLike) -> Excerpts:
    """Returns the frames of a whole file, decoded as they are iterated over.

    A rest shorter than a window is left out where there are others.

    Args:
      path: of the audio file.

    Raises:
      DataError: it is not audio; iterating raises what `predict` does.
    """
    return _FileExcerpts(path, self._program.config)

  def answer(self, path: str | os.PathLike, excerpts: Excerpts) -> Prediction:
    """Answers from the frames of a track, one excerpt in memory at a time.

    Args:
      path: of the file, to be named.
      excerpts: of the track.

    Raises:
      DataError: as the excerpts do.
    """
    logits, moments, embedding = [], [], 0.0
    for excerpt in excerpts:
      found, vectors = self._windows(excerpt.frames)
      logits.append(found)
      embedding = embedding + vectors.sum(axis=0, dtype=np.float64)
      moments += self._moments(excerpt, found)
    stacked = np.concatenate(logits)[None]
    (probabilities,) = metrics.track_probabilities(
      stacked,
      np.full(stacked.shape[:2], True),
      np.zeros(1, int),
      self._program.temperature,
    )
    order = np.argsort(-probabilities, kind='stable')
    top = tuple((self.genres[i], float(probabilities[i])) for i in order)
    return Prediction(
      path=os.fspath(path),
      genres=self.genres,
      genre=top[0][0],
      probability=top[0][1],
      top=top,
      uncertain=top[0][1] < metrics.UNCERTAIN_UNDER,
      duration_s=excerpts.duration_s,
      windows=stacked.shape[1],
      warning=excerpts.warning,
      timeline=tuple(moments),
      embedding=np.asarray(embedding / stacked.shape[1], np.float32),
    )

  def _windows(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns f32[W, C] logits and f32[W, D] embeddings of the real windows."""
    size = self._program.max_frames
    num_frames = min(len(frames), size)
    padded = np.zeros((1, size, frames.shape[1]), np.float16)
    padded[0, :num_frames] = frames[:num_frames]
    logits, mask, embedding = self._program(
      padded, np.array([num_frames], np.int32)
    )
    # What a file declares of its answers is not what it must give.
    whole = mask.shape
    if not (
      len(whole) == 2
      and whole[0] == 1
      and logits.shape == (*whole, len(self.genres))
      and embedding.ndim == 3
      and embedding.shape[:2] == whole
    ):
      raise DataError('the model answers in other shapes than it says')
    logits, embedding = logits[0][mask[0]], embedding[0][mask[0]]
    is_finite = np.isfinite(logits).all() and np.isfinite(embedding).all()
    if not (len(logits) and is_finite):
      raise DataError('the model has no answer to it')
    return logits, embedding

  def _moments(
    self, excerpt: Excerpt, logits: np.ndarray
  ) -> list[WindowPrediction]:
    """Places the windows of an excerpt in its track."""
    config = self._program.config
    windows, num_frames = config.windows, len(excerpt.frames)
    # Of an excerpt that has more than the model takes, fewer a second are kept.
    rate_hz = min(
      frame_rate_hz(config.features), num_frames / excerpt.duration_s
    )
    last = max(0, num_frames - windows.num_frames)
    found = []
    scaled = metrics.log_softmax(logits / self._program.temperature)
    for i, row in enumerate(np.exp(scaled)):
      start = min(i * windows.hop_frames, last)
      start_s = start / rate_hz
      end_s = min((start + windows.num_frames) / rate_hz, excerpt.duration_s)
      found.append(
        WindowPrediction(
          excerpt.start_s + start_s,
          excerpt.start_s + end_s,
          tuple(map(float, row)),
        )
      )
    return found


class _FileExcerpts:
  """The excerpts of a file, decoded one after another."""

  def __init__(self, path: str | os.PathLike, config: ConfigDict):
    features = config.features
    self._config = config
    self._reader = ExcerptReader(
      path, features.sample_rate_hz, features.excerpt_s, 'all'
    )

  @property
  def duration_s(self) -> float:
    return self._reader.outcome.duration_s

  @property
  def warning(self) -> str:
    return self._reader.outcome.warning

  def __iter__(self) -> Iterator[Excerpt]:
    features, found = self._config.features, False
    for start_s, samples in self._reader:
      duration_s = len(samples) / features.sample_rate_hz
      if not found and duration_s < MIN_DURATION_S - TOLERANCE_S:
        raise DataError(
          f'too short: {duration_s:.2f} s, under {MIN_DURATION_S:g} s'
        )
      frames = log_mel(samples, features).astype(np.float16)
      if not found or len(frames) >= self._config.windows.num_frames:
        yield Excerpt(start_s, duration_s, frames)
      found = True
