"""Brings an index up to date with a folder.

Files that changed are decoded, and those that failed before: a permission, or
ffmpeg, may be there now.
"""

import dataclasses
import os
import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from mgc_jax.audio import tags
from mgc_jax.audio.files import Skipped, audio_files, is_inside, no_audio
from mgc_jax.collection import roots
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.inference import pretrained
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

if TYPE_CHECKING:  # JAX: not for --help
  from mgc_jax.inference.classifier import Classifier, Prediction

_COMMIT_EVERY_S = 1.0  # what a killed process may have to do again


@dataclasses.dataclass
class Counts:
  """What became of the tracks."""

  answered: int = 0
  unchanged: int = 0
  failed: int = 0
  forgotten: int = 0


def scan(
  index: Index, folder: str, model_name: str | None, strict: bool = False
) -> Counts:
  """Indexes a folder and its sub-folders.

  Standard error tells which files are damaged or cannot be read, what is left
  out of the folder, and which indexed folders are missing or empty: their
  tracks are kept.

  Args:
    index: to bring up to date.
    folder: of music.
    model_name: as `mgc_jax.load` takes it; None for the one that the index was
      made with, `pretrained.BEST` for a new index.
    strict: whether a truncated or damaged file is a failure. Otherwise it is
      answered, with a warning.

  Raises:
    ConfigError: the folder does not exist, or the index is of another model.
    DataError: the folder has no audio.
  """
  if not os.path.isdir(folder):
    raise ConfigError(
      f'{printable(folder)}: not a folder{_kept(index, folder)}'
    )
  if model_name and model_name not in pretrained.NAMES:
    model_name = os.path.realpath(model_name)  # the same from every folder
  _check_model(index, model_name)
  one = _Scan(index, os.path.realpath(folder), strict)
  changed = one.changed()
  if not one.found:
    raise DataError(no_audio(folder, one.skipped) + _kept(index, folder))
  if one.skipped:
    print(f'{printable(folder)}: {one.skipped.line()}', file=sys.stderr)
  if changed:
    one.answer(changed, _model(index, model_name))
  one.forget()
  return one.counts


def _check_model(index: Index, name: str | None) -> None:
  """Refuses a model other than the one that the index was made with."""
  known = index.model()
  if known and name and name != known[0]:
    raise ConfigError(
      f'--model={name}: {index.path} has answers of {known[0]}; name another '
      '--index, or leave --model out'
    )


def _kept(index: Index, folder: str) -> str:
  """Returns what the index has of a folder without music; empty: nothing."""
  path, found = roots.find(index, folder)
  return f'; {roots.kept_line(path, len(found))}' if found else ''


def _model(index: Index, name: str | None) -> 'Classifier':
  """Loads the model of an index, or gives a new index its model."""
  from mgc_jax.inference import loading

  known = index.model()
  name = name or (known[0] if known else pretrained.BEST)
  model = loading.load(name, owns_process=True)
  if not known:
    index.set_model(name, model.digest, model.genres)
  elif known[1] != model.digest:
    raise ConfigError(
      f'{index.path}: its answers are of another {name} than the one of today; '
      'delete it, or name another --index'
    )
  return model


class _Scan:
  """The indexing of one folder."""

  def __init__(self, index: Index, root: str, strict: bool):
    self._index, self._root, self._strict = index, root, strict
    self._unread: list[str] = []  # folders
    self.counts = Counts()
    self.found: set[str] = set()
    self.skipped = Skipped()

  def changed(self) -> list[tuple[str, os.stat_result]]:
    """Finds the audio files; returns those that are to be decoded."""
    changed = []
    for path in audio_files(self._root, self._cannot_be_read, self.skipped):
      self.found.add(path)
      try:
        stat = os.stat(path)
      except OSError as error:
        self._fail(path, f'cannot be opened: {error.strerror}')
        continue
      entry = self._index.find(path)
      if entry and not entry.failure and entry.is_unchanged(stat):
        self.counts.unchanged += 1
      else:
        changed.append((path, stat))
    return changed

  def _cannot_be_read(self, error: OSError) -> None:
    self._unread.append(error.filename)
    self._fail(error.filename, f'cannot be read: {error.strerror}')

  def _fail(self, path: str, why: str) -> None:
    self.counts.failed += 1
    tqdm.write(f'{printable(path)}: {why}', file=sys.stderr)

  def answer(
    self, changed: list[tuple[str, os.stat_result]], model: 'Classifier'
  ) -> None:
    """Asks the model, and writes each answer as it comes."""
    from mgc_jax.inference import prefetch

    paths = [path for path, _ in changed]
    last_s = time.monotonic()
    bar = tqdm(changed, desc='index', unit='track', disable=None)
    try:
      with bar, prefetch.ahead(model, paths) as answers:
        for (path, before), (_, answer) in zip(bar, answers, strict=True):
          if _is_other_file(path, before):
            self._fail(path, 'changed while it was read; index again')
          else:
            self._put(path, before, answer)
          if time.monotonic() - last_s > _COMMIT_EVERY_S:
            self._index.commit()
            last_s = time.monotonic()
    finally:
      self._index.commit()

  def _put(
    self, path: str, before: os.stat_result, answer: 'Prediction | DataError'
  ) -> None:
    """Writes what was found out about a file."""
    facts = (path, self._root, before.st_size, before.st_mtime_ns)
    is_failure = isinstance(answer, DataError)
    problem = str(answer) if is_failure else answer.warning
    if is_failure or (problem and self._strict):
      self._fail(path, problem)
      self._index.put(Entry(*facts, '', '', failure=problem))
      return
    if problem:
      tqdm.write(f'{printable(path)}: warning: {problem}', file=sys.stderr)
    self.counts.answered += 1
    heard = (answer.duration_s, answer.genre, answer.probability)
    by_genre = dict(answer.top)
    self._index.put(
      Entry(*facts, *tags.read(path), '', *heard),
      [by_genre[genre] for genre in answer.genres],
      answer.embedding,
    )

  def forget(self) -> None:
    """Forgets deleted files, and tells which folders are absent."""
    index, root = self._index, self._root
    gone, kept = roots.gone(index, root)
    left_out = [
      entry for entry in index.inside(root) if self._leaves_out(entry)
    ]
    index.delete(gone + left_out)
    self.counts.forgotten = len(gone) + len(left_out)
    for folder, number in {**kept, **roots.absent(index, root)}.items():
      roots.tell_kept(folder, number)

  def _leaves_out(self, entry: Entry) -> bool:
    """Returns whether a file is there, but is no longer read as music.

    It is in a folder of deleted files, for example, or a second link to a file
    that is read anyway.
    """
    return (
      entry.root == self._root
      and entry.path not in self.found
      and os.path.lexists(entry.path)
      and not any(is_inside(entry.path, folder) for folder in self._unread)
    )


def _is_other_file(path: str, before: os.stat_result) -> bool:
  """Returns whether a file is gone or has changed."""
  try:
    now = os.stat(path)
  except OSError:
    return True
  return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
