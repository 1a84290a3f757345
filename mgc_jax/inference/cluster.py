"""The predictions for audio files as parts of a Dask job."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import shutil
import socket
from collections.abc import Iterator

import numpy as np

from mgc_jax.cluster import part_file, parts
from mgc_jax.cluster.attempts import KILLED, Attempts
from mgc_jax.inference import loading
from mgc_jax.inference.classifier import (
  Classifier,
  Prediction,
  WindowPrediction,
)
from mgc_jax.system.errors import DataError

Outcome = Prediction | DataError

_NAME_LENGTH = 24
_PART_NAME = re.compile(
  rf'[0-9a-f]{{{_NAME_LENGTH}}}{re.escape(part_file.SUFFIX)}(\.attempts)?'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
  """Where files are classified.

  Attributes:
    scheduler: the address of Dask's scheduler.
    folder: for the files of the parts, on a disk that all hosts share.
    model: a model as for `mgc_jax.load`, at the same path on all hosts.
    engine: as for `mgc_jax.load`.
  """

  scheduler: str
  folder: pathlib.Path
  model: str
  engine: str

  @contextlib.contextmanager
  def ahead(
    self, classifier: Classifier, paths: list[str]
  ) -> Iterator[Iterator[tuple[str, Outcome]]]:
    """Provides what `prefetch.ahead` does, from the workers of the cluster.

    Args:
      classifier: the same model in this process.
      paths: audio files; the iterator keeps their order.

    Raises:
      ConfigError: Dask is not installed, the scheduler cannot be reached, or a
        worker has other versions of packages.
      DataError: a worker sees other files or another model, or the scheduler is
        lost.
    """
    self.folder.mkdir(parents=True, exist_ok=True)
    made = []
    for group in parts.groups(list(map(os.path.abspath, paths))):
      name = _fingerprint(group, classifier.digest)
      path = self.folder / f'{name}{part_file.SUFFIX}'
      made.append(parts.Part(path, group))
    arguments = (self.model, self.engine, classifier.digest)
    job = parts.Job(_compute, arguments, 'predict')
    with contextlib.closing(parts.computed(self.scheduler, job, made)) as found:
      outcomes = (
        outcome
        for _, arrays in found
        for outcome in _unpacked(arrays, classifier.genres)
      )
      yield (
        (path, _named(outcome, path))
        for path, outcome in zip(paths, outcomes, strict=True)
      )

  def delete(self) -> None:
    """Deletes the files of predictions; other files in the folder stay."""
    for path in self.folder.iterdir():
      if _PART_NAME.fullmatch(path.name):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it has other files
      self.folder.rmdir()


def _named(outcome: Outcome, path: str) -> Outcome:
  """Returns a prediction with the path of its file as the user gave it."""
  if isinstance(outcome, DataError):
    return outcome
  return dataclasses.replace(outcome, path=path)


def _fingerprint(paths: tuple[str, ...], digest: str) -> str:
  """Returns a hash of all on which the predictions for files depend."""
  found = hashlib.sha256(f'{digest} {parts.code_version()}'.encode())
  # With ffmpeg more files can be read, and some of them further.
  found.update(str(shutil.which('ffmpeg') is not None).encode())
  for path in paths:
    try:
      stat = os.stat(path)
      state = (stat.st_size, stat.st_mtime_ns)
    except OSError:
      state = ()
    found.update(ascii((path, state)).encode())
  return found.hexdigest()[:_NAME_LENGTH]


@functools.lru_cache(1)
def _loaded(model: str, engine: str, digest: str) -> Classifier:
  """Returns a model, which each worker process loads once.

  Args:
    model: see `Cluster`.
    engine: see `Cluster`.
    digest: of the model, so that one that was trained again is loaded again.
  """
  del digest  # only a key of the cache
  return loading.load(model, engine=engine)


def _compute(
  part: parts.Part, attempts: Attempts, model: str, engine: str, digest: str
) -> dict[str, np.ndarray]:
  """Runs in a worker: classifies the files of a part."""
  host = socket.gethostname()
  classifier = _loaded(model, engine, digest)
  if classifier.digest != digest:
    raise DataError(f'{host}: --model={model} is another model there')
  if _fingerprint(part.items, digest) != part.path.stem:
    raise DataError(
      f'{host}: sees other files than this command (such as {part.items[0]}), '
      'or only one of both has ffmpeg; all hosts need the same disk and the '
      'same programs'
    )
  outcomes: list[Prediction | str] = []
  for i, path in enumerate(part.items):
    if not attempts.begin(i):
      outcomes.append(KILLED)
      continue
    try:
      outcomes.append(classifier.predict(path))
    except DataError as error:
      outcomes.append(str(error))
  return _packed(outcomes, len(classifier.genres))


def _packed(
  outcomes: list[Prediction | str], num_genres: int
) -> dict[str, np.ndarray]:
  """Returns the arrays for T tracks, of which P have a prediction of W windows.

  Args:
    outcomes: for each track its prediction, or why it has none.
    num_genres: C, the length of probabilities.
  """
  found = [x for x in outcomes if isinstance(x, Prediction)]
  windows = [window for one in found for window in one.timeline]
  times = [(window.start_s, window.end_s) for window in windows]
  return {
    'reasons': np.array([x if isinstance(x, str) else '' for x in outcomes]),
    'warnings': np.array([one.warning for one in found], str),
    'duration_s': np.array([one.duration_s for one in found], float),
    # f64[P, C] and f64[W, C], in the order of the model's genres.
    'probabilities': np.array(
      [[one.probabilities[g] for g in one.genres] for one in found], float
    ).reshape(-1, num_genres),
    'embeddings': np.array([one.embedding for one in found], np.float32),
    'num_windows': np.array([len(one.timeline) for one in found], int),
    'window_times_s': np.array(times, float).reshape(-1, 2),
    'window_probabilities': np.array(
      [window.probabilities for window in windows], float
    ).reshape(-1, num_genres),
  }


def _unpacked(
  arrays: dict[str, np.ndarray], genres: tuple[str, ...]
) -> Iterator[Outcome]:
  """Yields what `_packed` was given, without paths, and reasons as errors."""
  number, start = 0, 0
  for reason in arrays['reasons']:
    if reason:
      yield DataError(str(reason))
      continue
    end = start + int(arrays['num_windows'][number])
    timeline = tuple(
      WindowPrediction(
        float(start_s), float(end_s), tuple(map(float, probabilities))
      )
      for (start_s, end_s), probabilities in zip(
        arrays['window_times_s'][start:end],
        arrays['window_probabilities'][start:end],
        strict=True,
      )
    )
    yield Prediction.of(
      path='',
      genres=genres,
      probabilities=arrays['probabilities'][number],
      duration_s=float(arrays['duration_s'][number]),
      warning=str(arrays['warnings'][number]),
      timeline=timeline,
      embedding=arrays['embeddings'][number],
    )
    number, start = number + 1, end
