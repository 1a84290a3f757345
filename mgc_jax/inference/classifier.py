"""Predicts the genres of audio files."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np

from mgc_jax.audio.decode import TOLERANCE_S, ExcerptReader
from mgc_jax.audio.excerpt import Excerpt
from mgc_jax.audio.in_memory import temporary_file
from mgc_jax.config.schema import FeaturesConfig, WindowsConfig, frame_rate_hz
from mgc_jax.evaluation import metrics
from mgc_jax.features.encoder import Encoder
from mgc_jax.features.frames import frames_of
from mgc_jax.system.errors import DataError

if TYPE_CHECKING:  # imports JAX or onnxruntime; only one of them is needed
  from mgc_jax.inference.jax_export import Program
  from mgc_jax.inference.onnx_model.program import OnnxProgram

Audio = str | os.PathLike | bytes | np.ndarray
MIN_DURATION_S = 1.0  # the default of config.data.min_duration_s


@dataclasses.dataclass(frozen=True)
class WindowPrediction:
  """The prediction for one window of a track."""

  start_s: float
  end_s: float
  probabilities: tuple[float, ...]  # in the order of the model's genres


@dataclasses.dataclass(frozen=True)
class Prediction:
  """The prediction for a track.

  Attributes:
    path: the audio file; empty for audio that was in memory.
    genres: all genres of the model, in its order.
    genre: the most probable genre.
    probability: the probability of `genre`.
    top: all genres with their probabilities, the most probable first.
    uncertain: whether the probability is below `metrics.UNCERTAIN_UNDER`.
    duration_s: how much was decoded, in seconds.
    windows: the number of windows.
    warning: what is wrong with the file; empty if nothing.
    timeline: the predictions for the windows, in order.
    embedding: f32[D], the mean over the windows; of an encoder, the mean of its
      frames, in which similar songs are found more reliably.
  """

  path: str
  genres: tuple[str, ...]
  genre: str
  probability: float
  top: tuple[tuple[str, float], ...]
  uncertain: bool
  duration_s: float
  windows: int
  warning: str
  timeline: tuple[WindowPrediction, ...] = dataclasses.field(repr=False)
  embedding: np.ndarray = dataclasses.field(repr=False)

  @classmethod
  def of(
    cls,
    *,
    path: str,
    genres: tuple[str, ...],
    probabilities: np.ndarray,
    duration_s: float,
    warning: str,
    timeline: tuple[WindowPrediction, ...],
    embedding: np.ndarray,
  ) -> 'Prediction':
    """Returns a prediction with the attributes that follow from the others.

    Args:
      path: see `Prediction`.
      genres: see `Prediction`.
      probabilities: f[C], in the order of `genres`.
      duration_s: see `Prediction`.
      warning: see `Prediction`.
      timeline: one prediction for each window.
      embedding: see `Prediction`.
    """
    order = np.argsort(-probabilities, kind='stable')
    top = tuple((genres[i], float(probabilities[i])) for i in order)
    return cls(
      path=path,
      genres=genres,
      genre=top[0][0],
      probability=top[0][1],
      top=top,
      uncertain=top[0][1] < metrics.UNCERTAIN_UNDER,
      duration_s=duration_s,
      windows=len(timeline),
      warning=warning,
      timeline=timeline,
      embedding=embedding,
    )

  @property
  def probabilities(self) -> dict[str, float]:
    """The probability of every genre, the most probable first."""
    return dict(self.top)

  def to_json(self, top: int | None, timeline: bool = False) -> dict:
    """Returns a dictionary that can be written as JSON.

    Args:
      top: how many genres `probabilities` has, the most probable first; None:
        all.
      timeline: whether to include the predictions for the windows, with the
        probabilities of all genres.
    """
    found = {
      'path': self.path,
      'genre': self.genre,
      'probability': round(self.probability, 4),
      'probabilities': {name: round(p, 4) for name, p in self.top[:top]},
      'uncertain': self.uncertain,
      'duration_s': round(self.duration_s, 2),
      'windows': self.windows,
      'warning': self.warning,
    }
    if timeline:
      found['timeline'] = [
        {
          'start_s': round(one.start_s, 2),
          'end_s': round(one.end_s, 2),
          'probabilities': {
            genre: round(p, 4)
            for genre, p in zip(self.genres, one.probabilities, strict=True)
          },
        }
        for one in self.timeline
      ]
    return found


class Excerpts(Protocol):
  """The excerpts of a track; they can be iterated over once."""

  @property
  def duration_s(self) -> float:
    """How much was decoded in seconds; known after the last excerpt."""
    ...

  @property
  def warning(self) -> str:
    """What is wrong with the file, empty if nothing; known after the last."""
    ...

  def __iter__(self) -> Iterator[Excerpt]:
    """Yields the excerpts in order."""
    ...


@dataclasses.dataclass(frozen=True)
class DecodedExcerpts:
  """All excerpts of a track in memory."""

  excerpts: tuple[Excerpt, ...]
  duration_s: float
  warning: str

  def __iter__(self) -> Iterator[Excerpt]:
    """Yields the excerpts in order."""
    return iter(self.excerpts)


class Classifier:
  """Classifies audio files with a model."""

  def __init__(
    self,
    program: 'Program | OnnxProgram',
    load_encoder: Callable[[], Encoder] | None = None,
  ):
    """Wraps a program that computes logits.

    Args:
      program: a model from `jax_export` or `onnx_model.program`.
      load_encoder: returns the encoder, if the model's features or tags need
        one; None: that of JAX.
    """
    self._program, self._load_encoder = program, load_encoder
    self.genres = program.genres
    self.digest = program.digest

  @overload
  def predict(
    self, audio: Audio, sample_rate_hz: int | None = None
  ) -> Prediction: ...

  @overload
  def predict(
    self, audio: list[Audio], sample_rate_hz: int | None = None
  ) -> list[Prediction]: ...

  def predict(
    self, audio: Audio | list[Audio], sample_rate_hz: int | None = None
  ) -> Prediction | list[Prediction]:
    """Classifies audio of any length, sample rate and number of channels.

    Args:
      audio: the path of a file, the bytes of one, or f[L] or f[L, channels]
        samples with full scale at 1; or a list of those.
      sample_rate_hz: the rate of samples; unused for files.

    Returns:
      A prediction, or for a list one for each of its elements.

    Raises:
      DataError: the audio cannot be read, is silent, or is shorter than a
        second.
    """
    if isinstance(audio, list):
      return [self.predict(one, sample_rate_hz) for one in audio]
    if isinstance(audio, bytes | np.ndarray):
      with temporary_file(audio, sample_rate_hz) as path:
        return dataclasses.replace(self.predict(path), path='')
    return self.predict_excerpts(audio, self.excerpts(audio))

  def excerpts(self, path: str | os.PathLike) -> Excerpts:
    """Returns the excerpts of a file, which are decoded during iteration.

    A last excerpt shorter than a window is skipped if it is not the only one.

    Args:
      path: the audio file.

    Raises:
      DataError: the file is not audio. Iteration raises the other errors of
        `predict`.
    """
    config = self._program.config
    return _FileExcerpts(
      path, config.features, config.windows, self._load_encoder
    )

  def encoder(self) -> Encoder:
    """Returns the pretrained encoder, computed as the model is.

    Raises:
      DataError: its files are damaged.
    """
    if self._load_encoder:
      return self._load_encoder()
    from mgc_jax.features import musicnn_encoder  # imports JAX

    return musicnn_encoder.load()

  def predict_excerpts(
    self, path: str | os.PathLike, excerpts: Excerpts
  ) -> Prediction:
    """Classifies a track, holding one excerpt in memory at a time.

    Args:
      path: the audio file, which is only named in the prediction.
      excerpts: the excerpts of the track.

    Raises:
      DataError: the excerpts cannot be decoded, or the model fails.
    """
    logits, timeline, embedding, num_vectors = [], [], 0.0, 0
    is_encoded = self._program.config.features.extractor != 'log_mel'
    for excerpt in excerpts:
      window_logits, vectors = self._run_windows(excerpt.frames)
      logits.append(window_logits)
      vectors = excerpt.frames if is_encoded else vectors
      embedding = embedding + vectors.sum(axis=0, dtype=np.float64)
      num_vectors += len(vectors)
      timeline += self._window_predictions(excerpt, window_logits)
    stacked = np.concatenate(logits)[None]
    (probabilities,) = metrics.track_probabilities(
      stacked,
      np.full(stacked.shape[:2], True),
      np.zeros(1, int),
      self._program.temperature,
    )
    return Prediction.of(
      path=os.fspath(path),
      genres=self.genres,
      probabilities=probabilities,
      duration_s=excerpts.duration_s,
      warning=excerpts.warning,
      timeline=tuple(timeline),
      embedding=np.asarray(embedding / num_vectors, np.float32),
    )

  def _run_windows(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns f32[W, C] logits and f32[W, D] embeddings of the real windows."""
    size = self._program.max_frames
    num_frames = min(len(frames), size)
    padded = np.zeros((1, size, frames.shape[1]), np.float16)
    padded[0, :num_frames] = frames[:num_frames]
    logits, mask, embedding = self._program(
      padded, np.array([num_frames], np.int32)
    )
    # The outputs may differ from what the model file declares.
    shape = mask.shape
    if not (
      len(shape) == 2
      and shape[0] == 1
      and logits.shape == (*shape, len(self.genres))
      and embedding.ndim == 3
      and embedding.shape[:2] == shape
    ):
      raise DataError('the model outputs have other shapes than it declares')
    logits, embedding = logits[0][mask[0]], embedding[0][mask[0]]
    is_finite = np.isfinite(logits).all() and np.isfinite(embedding).all()
    if not (len(logits) and is_finite):
      raise DataError('the model outputs are empty or not finite')
    return logits, embedding

  def _window_predictions(
    self, excerpt: Excerpt, logits: np.ndarray
  ) -> list[WindowPrediction]:
    """Returns the probabilities of an excerpt's windows with their times."""
    config = self._program.config
    windows, num_frames = config.windows, len(excerpt.frames)
    # An excerpt with more frames than the model takes was reduced to fewer
    # frames a second.
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
  """Decodes the excerpts of a file one after another."""

  def __init__(
    self,
    path: str | os.PathLike,
    features: FeaturesConfig,
    windows: WindowsConfig,
    load_encoder: Callable[[], Encoder] | None,
  ):
    self._features, self._windows = features, windows
    self._load_encoder = load_encoder
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
    features, found = self._features, False
    for start_s, samples in self._reader:
      duration_s = len(samples) / features.sample_rate_hz
      if not found and duration_s < MIN_DURATION_S - TOLERANCE_S:
        raise DataError(
          f'too short: {duration_s:.2f} s, under {MIN_DURATION_S:g} s'
        )
      frames = frames_of(samples, features, self._load_encoder)
      if not found or len(frames) >= self._windows.num_frames:
        yield Excerpt(frames, duration_s, start_s=start_s)
      found = True
