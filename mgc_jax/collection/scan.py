"""Brings an index up to date with a folder.

New and changed files are classified. A file that failed is not read again
unless it has changed, or the reason may no longer exist: for example ffmpeg has
been installed since.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tqdm import tqdm

from mgc_jax.audio import ffmpeg, tags
from mgc_jax.audio.files import Skipped, audio_files, is_inside, no_audio
from mgc_jax.audio.probe import CANNOT_OPEN
from mgc_jax.collection import roots
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.inference import engines, pretrained
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

if TYPE_CHECKING:  # avoids importing JAX for --help
  from mgc_jax.inference.classifier import Classifier, Prediction
  from mgc_jax.inference.cluster import Cluster

# Ends the reason of a failure that is only a warning without --strict.
_STRICT = ' (--strict)'
_COMMIT_EVERY_S = 1.0  # how much work a killed process may lose


@dataclasses.dataclass
class Counts:
  """How many tracks of a folder were classified, unchanged, failed, removed.

  Attributes:
    classified: they have a new prediction.
    unchanged: they kept their prediction.
    failed: they have no prediction.
    failed_before: so many of those were not read again.
    forgotten: they were removed from the index.
    missed: files and folders that could not be looked at; they are not in the
      index, or as they were before.
  """

  classified: int = 0
  unchanged: int = 0
  failed: int = 0
  failed_before: int = 0
  forgotten: int = 0
  missed: int = 0


def scan(
  index: Index,
  folder: str,
  model_name: str | None,
  strict: bool = False,
  retry: bool = False,
  engine: str = engines.AUTO,
  cluster_for: Callable[[str], 'Cluster | None'] = lambda model: None,
) -> Counts:
  """Indexes a folder and its subfolders.

  Reports on standard error which files are damaged or cannot be read, what is
  skipped in the folder, and which indexed folders are missing or empty. The
  tracks of missing or empty folders are kept.

  Args:
    index: the index to bring up to date.
    folder: the music folder.
    model_name: a model as for `mgc_jax.load`; None for the model of the index,
      or for `pretrained.BEST` if the index is new.
    strict: whether a truncated or damaged file is a failure. Otherwise it is
      classified with a warning.
    retry: whether to read all files again that failed before.
    engine: what computes the model, as for `mgc_jax.load`.
    cluster_for: returns the cluster that classifies with a model; None if this
      machine does.

  Raises:
    ConfigError: the folder does not exist, or the index was made with another
      model.
    DataError: the folder has no audio.
  """
  if not os.path.isdir(folder):
    raise ConfigError(
      f'{printable(folder)}: not a folder{_kept_message(index, folder)}'
    )
  if model_name and model_name not in pretrained.NAMES:
    # An index can be updated from any working directory.
    model_name = os.path.realpath(model_name)
  _check_model(index, model_name)
  one = _Scan(index, os.path.realpath(folder), strict, retry)
  changed = one.find_changed()
  if not one.found:
    raise DataError(
      no_audio(folder, one.skipped) + _kept_message(index, folder)
    )
  if one.skipped:
    print(f'{printable(folder)}: {one.skipped.line()}', file=sys.stderr)
  if changed:
    model, name = _load_model(index, model_name, engine)
    one.classify(changed, model, cluster_for(name))
  one.forget()
  return one.counts


def _check_model(index: Index, name: str | None) -> None:
  """Raises a `ConfigError` if the index was made with another model."""
  stored = index.model()
  if stored and name and name != stored[0]:
    raise ConfigError(
      f'--model={name}: {index.path} was made with {stored[0]}; use another '
      '--index or omit --model'
    )


def _kept_message(index: Index, folder: str) -> str:
  """Returns what the index keeps of a folder without music, if anything."""
  path, found = roots.find(index, folder)
  return f'; {roots.kept_message(path, len(found))}' if found else ''


def _load_model(
  index: Index, name: str | None, engine: str
) -> tuple['Classifier', str]:
  """Loads the model of an index; records the model in a new index."""
  from mgc_jax.inference import loading

  stored = index.model()
  name = name or (stored[0] if stored else pretrained.BEST)
  model = loading.load(name, owns_process=True, engine=engine)
  if not stored:
    index.set_model(name, model.digest, model.genres)
  elif stored[1] != model.digest:
    raise ConfigError(
      f'{index.path}: made by another version of {name} than the current one; '
      'delete it or use another --index'
    )
  return model, name


class _Scan:
  """Indexes one folder."""

  def __init__(self, index: Index, root: str, strict: bool, retry: bool):
    self._index, self._root = index, root
    self._strict, self._retry = strict, retry
    self._unreadable: list[str] = []  # folders
    self.counts = Counts()
    self.found: set[str] = set()
    self.skipped = Skipped()

  def find_changed(self) -> list[tuple[str, os.stat_result]]:
    """Finds the audio files and returns those that are to be classified."""
    changed = []
    for path in audio_files(self._root, self._fail_to_read, self.skipped):
      self.found.add(path)
      try:
        stat = os.stat(path)
      except OSError as error:
        self._miss(path, f'{CANNOT_OPEN}: {error.strerror}')
        continue
      entry = self._index.find(path)
      if not entry or not entry.is_unchanged(stat):
        changed.append((path, stat))
      elif not entry.failure:
        self.counts.unchanged += 1
      elif self._may_work_now(entry.failure):
        changed.append((path, stat))
      else:
        self.counts.failed += 1
        self.counts.failed_before += 1
    return changed

  def _may_work_now(self, failure: str) -> bool:
    """Returns whether a file that failed and has not changed is read again."""
    return (
      self._retry
      or failure.startswith(CANNOT_OPEN)  # trying takes no time
      or (failure == ffmpeg.MISSING and ffmpeg.is_installed())
      or (failure.endswith(_STRICT) and not self._strict)
    )

  def _fail_to_read(self, error: OSError) -> None:
    self._unreadable.append(error.filename)
    self._miss(error.filename, f'cannot be read: {error.strerror}')

  def _miss(self, path: str, reason: str) -> None:
    self.counts.missed += 1
    tqdm.write(f'{printable(path)}: {reason}', file=sys.stderr)

  def classify(
    self,
    changed: list[tuple[str, os.stat_result]],
    model: 'Classifier',
    cluster: 'Cluster | None',
  ) -> None:
    """Classifies files and stores each prediction as it is made."""
    from mgc_jax.inference import prefetch

    ahead = cluster.ahead if cluster else prefetch.ahead

    paths = [path for path, _ in changed]
    last_s = time.monotonic()
    bar = tqdm(changed, desc='index', unit='track', disable=None)
    try:
      with bar, ahead(model, paths) as predictions:
        for (path, before), (_, result) in zip(bar, predictions, strict=True):
          if _has_changed(path, before):
            self._miss(path, 'changed while it was read; index it again')
          else:
            self._store(path, before, result)
          if time.monotonic() - last_s > _COMMIT_EVERY_S:
            self._index.commit()
            last_s = time.monotonic()
    finally:
      self._index.commit()
    if cluster:
      cluster.delete()  # all of it is in the index now

  def _store(
    self, path: str, before: os.stat_result, result: 'Prediction | DataError'
  ) -> None:
    """Stores a file's prediction, or why there is none."""
    facts = (path, self._root, before.st_size, before.st_mtime_ns)
    is_failure = isinstance(result, DataError)
    problem = str(result) if is_failure else result.warning
    if is_failure or (problem and self._strict):
      self.counts.failed += 1
      tqdm.write(f'{printable(path)}: {problem}', file=sys.stderr)
      problem += '' if is_failure else _STRICT
      self._index.put(Entry(*facts, '', '', failure=problem))
      return
    if problem:
      tqdm.write(f'{printable(path)}: warning: {problem}', file=sys.stderr)
    self.counts.classified += 1
    values = (result.duration_s, result.genre, result.probability)
    by_genre = result.probabilities
    self._index.put(
      Entry(*facts, *tags.read(path), '', *values),
      [by_genre[genre] for genre in result.genres],
      result.embedding,
    )

  def forget(self) -> None:
    """Removes deleted files from the index and reports missing folders."""
    index, root = self._index, self._root
    deleted, kept = roots.find_deleted(index, root)
    skipped = [entry for entry in index.inside(root) if self._is_skipped(entry)]
    index.delete(deleted + skipped)
    self.counts.forgotten = len(deleted) + len(skipped)
    for folder, number in {**kept, **roots.missing(index, root)}.items():
      roots.report_kept(folder, number)

  def _is_skipped(self, entry: Entry) -> bool:
    """Returns whether a file still exists but is now skipped by the search.

    For example, it is in a trash folder, or a second link to another track.
    """
    return (
      entry.root == self._root
      and entry.path not in self.found
      and os.path.lexists(entry.path)
      and not any(is_inside(entry.path, folder) for folder in self._unreadable)
    )


def _has_changed(path: str, before: os.stat_result) -> bool:
  """Returns whether a file was changed or deleted."""
  try:
    now = os.stat(path)
  except OSError:
    return True
  return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
