"""Brings an index up to date with a folder.

What changed is decoded, and what failed: a right or ffmpeg may be there now.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from mgc_jax import pretrained
from mgc_jax.audio import tags
from mgc_jax.audio.files import audio_files
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.errors import ConfigError, DataError
from mgc_jax.names import printable

_COMMIT_EVERY_S = 1.0  # what a killed process may have to do again


@dataclasses.dataclass
class Counts:
  """What was done."""

  answered: int = 0
  unchanged: int = 0
  failed: int = 0
  forgotten: int = 0


def scan(index: Index, folder: str, model_name: str | None) -> Counts:
  """Indexes a folder and its sub-folders.

  Links to files inside the same folder are left out: they are no second
  track. Files that cannot be read are told on standard error.

  Args:
    index: to bring up to date.
    folder: of music.
    model_name: as `mgc_jax.load` takes it; None for the index' own, of a new
      one `pretrained.BEST`.

  Raises:
    ConfigError: the folder is none, or the index is of another model.
    DataError: the folder has no audio.
  """
  if not os.path.isdir(folder):
    raise ConfigError(f'{printable(folder)}: not a folder')
  root = os.path.realpath(folder)
  if model_name and model_name not in pretrained.NAMES:
    model_name = os.path.realpath(model_name)  # the same from every folder
  _check_model(index, model_name)
  counts, changed, num_found = Counts(), [], 0

  def cannot_be_read(error: OSError) -> None:
    _fail(counts, error.filename, f'cannot be read: {error.strerror}')

  for path in _files(root, cannot_be_read):
    num_found += 1
    with_stat = _changed(index, path, counts)
    if with_stat:
      changed.append(with_stat)
  if not num_found:
    raise DataError(f'{printable(root)}: no audio in it')
  if changed:
    _answer(index, root, changed, model_name, counts)
  gone = [entry for entry in index.inside(root) if _is_gone(entry.path)]
  index.delete(gone)
  counts.forgotten = len(gone)
  return counts


def _check_model(index: Index, name: str | None) -> None:
  """A name may be of many a folder; that of a model is not."""
  known = index.model()
  if known and name and name != known[0]:
    raise ConfigError(
      f'--model={name}: {index.path} has answers of {known[0]}; name another '
      '--index, or leave --model out'
    )


def _is_gone(path: str) -> bool:
  """Returns whether there is surely no such file, rather than no right."""
  try:
    os.lstat(path)
  except (FileNotFoundError, NotADirectoryError):
    return True
  except OSError:
    pass
  return False


def _files(root: str, on_error: Callable[[OSError], None]) -> Iterator[str]:
  for path in audio_files(root, on_error):
    if os.path.islink(path) and os.path.exists(path):
      target = os.path.realpath(path)
      if os.path.commonpath([root, target]) == root:
        continue
    yield path


def _changed(
  index: Index, path: str, counts: Counts
) -> tuple[str, os.stat_result] | None:
  """Returns what is to be decoded; counts and tells of the rest."""
  try:
    found = os.stat(path)
  except OSError as error:
    _fail(counts, path, f'cannot be opened: {error.strerror}')
    return None
  entry = index.find(path)
  if not entry or entry.failure or not entry.is_unchanged(found):
    return path, found
  counts.unchanged += 1
  return None


def _fail(counts: Counts, path: str, why: str) -> None:
  counts.failed += 1
  tqdm.write(f'{printable(path)}: {why}', file=sys.stderr)


def _answer(
  index: Index,
  root: str,
  changed: list[tuple[str, os.stat_result]],
  model_name: str | None,
  counts: Counts,
) -> None:
  """Asks the model, and writes what it says as it comes."""
  from mgc_jax import decoding, loading  # JAX: not for --help

  known = index.model()
  name = model_name or (known[0] if known else pretrained.BEST)
  model = loading.load(name, owns_process=True)
  if not known:
    index.set_model(name, model.digest, model.genres)
  elif known[1] != model.digest:
    raise ConfigError(
      f'{index.path}: its answers are of another {name} than the one of today; '
      'delete it, or name another --index'
    )
  paths = [path for path, _ in changed]
  last_s = time.monotonic()
  bar = tqdm(changed, desc='index', unit='track', disable=None)
  try:
    with bar, decoding.ahead(model, paths) as answers:
      for (path, before), (_, answer) in zip(bar, answers, strict=True):
        facts = (path, root, before.st_size, before.st_mtime_ns)
        if _is_other_file(path, before):
          _fail(counts, path, 'changed while it was read; index again')
        elif isinstance(answer, DataError):
          _fail(counts, path, str(answer))
          index.put(Entry(*facts, '', '', failure=str(answer)))
        else:
          counts.answered += 1
          heard = (answer.duration_s, answer.genre, answer.probability)
          by_genre = dict(answer.top)
          index.put(
            Entry(*facts, *tags.read(path), '', *heard),
            [by_genre[genre] for genre in answer.genres],
            answer.embedding,
          )
        if time.monotonic() - last_s > _COMMIT_EVERY_S:
          index.commit()
          last_s = time.monotonic()
  finally:
    index.commit()


def _is_other_file(path: str, before: os.stat_result) -> bool:
  """Returns whether a file is gone or changed since."""
  try:
    now = os.stat(path)
  except OSError:
    return True
  return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
