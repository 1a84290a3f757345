"""The index: one SQLite file with a row per track.

Every change is a transaction, so a killed process leaves the index as it was
after the last one. Paths are stored as the bytes that the file system has.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import sqlite3
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from mgc_jax.collection import schema
from mgc_jax.collection.entry import (
  COLUMNS,
  ClassifiedEntry,
  Entry,
  entry_from_row,
  int64,
)
from mgc_jax.system.errors import ConfigError, DataError

_LOCK_TIMEOUT_S = 30.0  # how long to wait for another process's transaction


class Index:
  """An open index; use it in a `with` statement, which closes it.

  Each method raises `DataError` if the file is damaged or the disk is full.
  """

  def __init__(self, path: str | os.PathLike, create: bool = False):
    """Opens an index.

    Args:
      path: the SQLite file.
      create: whether to create a missing file.

    Raises:
      ConfigError: the file does not exist, and `create` is False.
      DataError: the file is damaged, was written by another version, or cannot
        be opened.
    """
    self.path = pathlib.Path(path)
    with self._translated_errors():
      if not create and not self.path.is_file():
        raise self._missing_error()
      self.path.parent.mkdir(parents=True, exist_ok=True)
      self._db = sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT_S)
      self._db.execute('PRAGMA trusted_schema = OFF')
      self._open(create)

  def _missing_error(self) -> ConfigError:
    return ConfigError(
      f'--index={self.path}: does not exist; create it with: '
      'mgc collection index DIR'
    )

  def _open(self, create: bool) -> None:
    # The size first: another process may create the file, in one transaction.
    (size,) = self._db.execute('PRAGMA page_count').fetchone()
    (owner,) = self._db.execute('PRAGMA application_id').fetchone()
    (version,) = self._db.execute('PRAGMA user_version').fetchone()
    if not size and not create:  # another process is creating it
      raise self._missing_error()
    if not size:
      self._db.executescript(schema.CREATION)
    elif owner != schema.APPLICATION_ID:
      raise DataError(
        f'{self.path}: not an index of this package; use another file'
      )
    elif version != schema.FORMAT_VERSION:
      raise DataError(
        f'{self.path}: written by another version of this package (format '
        f'{version} instead of {schema.FORMAT_VERSION}); use another --index '
        'and index the folders again'
      )

  def __enter__(self) -> 'Index':
    """Returns itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Commits, and closes the file."""
    with self._translated_errors(), contextlib.closing(self._db):
      self._db.commit()

  @contextlib.contextmanager
  def _translated_errors(self) -> Iterator[None]:
    """Raises a `DataError` that names the file for SQLite and disk errors."""
    try:
      yield
    except OSError as error:
      raise DataError(
        f'{self.path}: cannot be created: {error.strerror}'
      ) from error
    except sqlite3.OperationalError as error:  # full disk, lock, permission
      raise DataError(
        f'{self.path}: cannot be used ({error}); tracks that were already '
        'indexed are safe'
      ) from error
    except sqlite3.DatabaseError as error:
      raise DataError(
        f'{self.path}: damaged ({error}); delete it and index the folders '
        'again; it contains no music'
      ) from error

  def check(self) -> None:
    """Reads the whole file; raises `DataError` if any part is damaged."""
    with self._translated_errors():
      (result,) = self._db.execute('PRAGMA quick_check(1)').fetchone()
      if result != 'ok':
        raise sqlite3.DatabaseError(result)

  def model(self) -> tuple[str, str, tuple[str, ...]] | None:
    """Returns the model's name, digest and genres; None in an empty index."""
    with self._translated_errors():
      row = self._db.execute(
        'SELECT name, digest, genres FROM model'
      ).fetchone()
    if row is None:
      return None
    try:
      name, digest, genres = row
      return os.fsdecode(name), str(digest), tuple(map(str, json.loads(genres)))
    except (TypeError, ValueError) as error:
      raise self._damaged_error(error) from error

  def token(self) -> str:
    """Returns an identifier that differs for a new index at the same path."""
    with self._translated_errors():
      row = self._db.execute('SELECT token FROM model').fetchone()
    return str(row[0]) if row else ''

  def set_model(self, name: str, digest: str, genres: tuple[str, ...]) -> None:
    """Records the model that makes all predictions of this index."""
    row = os.fsencode(name), digest, json.dumps(genres)
    row = (*row, secrets.token_hex(16))
    with self._translated_errors(), self._db:
      self._db.execute('INSERT INTO model VALUES (?, ?, ?, ?)', row)

  def put(
    self,
    entry: Entry,
    probabilities: ArrayLike | None = None,
    embedding: ArrayLike | None = None,
  ) -> None:
    """Writes a track, replacing any with the same path; call `commit` later.

    Args:
      entry: the track. Its `id` is ignored: the row gets a new one.
      probabilities: f[C], in the order of the model's genres; None without a
        prediction.
      embedding: f[D] of the track; None without a prediction.
    """
    values = dataclasses.asdict(entry)
    del values['id']
    values['path'] = os.fsencode(entry.path)
    values['root'] = os.fsencode(entry.root)
    values['mtime_ns'] = int64(entry.mtime_ns)
    values['probabilities'] = _blob(probabilities)
    values['embedding'] = _blob(embedding)
    names = ', '.join(values)
    placeholders = ', '.join('?' * len(values))
    with self._translated_errors():
      self._db.execute(
        f'REPLACE INTO tracks ({names}) VALUES ({placeholders})',
        tuple(values.values()),
      )

  def commit(self) -> None:
    """Makes what `put` wrote permanent."""
    with self._translated_errors():
      self._db.commit()

  def find(self, path: str) -> Entry | None:
    """Returns the track with this path; None if the index has none."""
    with self._translated_errors():
      row = self._db.execute(
        f'SELECT {COLUMNS} FROM tracks WHERE path = ?', (os.fsencode(path),)
      ).fetchone()
    return self._entry(row) if row else None

  def entries(self, genre: str | None = None) -> Iterator[ClassifiedEntry]:
    """Yields the tracks that have a prediction, sorted by path.

    Args:
      genre: yields only tracks of this genre; None for all.
    """
    where, values = ('genre = ?', (genre,)) if genre else ('true', ())
    yield from self._select_classified(where, values)

  def failures(self) -> Iterator[Entry]:
    """Yields the tracks that have no prediction, sorted by path."""
    yield from self._select("failure != ''", ())

  def inside(self, folder: str) -> Iterator[Entry]:
    """Yields all tracks in a folder and its subfolders, sorted by path."""
    low = os.fsencode(os.path.join(folder, ''))
    high = low[:-1] + bytes([low[-1] + 1])
    yield from self._select('path > ? AND path < ?', (low, high))

  def by_id(self, ids: list[int]) -> dict[int, ClassifiedEntry]:
    """Returns the classified tracks with these ids; skips unknown ids."""
    found = {}
    for one in ids:
      for entry in self._select_classified('id = ?', (int(one),)):
        found[one] = entry
    return found

  def _select_classified(
    self, where: str, values: tuple
  ) -> Iterator[ClassifiedEntry]:
    for entry in self._select(f"failure = '' AND {where}", values):
      assert isinstance(entry, ClassifiedEntry)  # because it has no failure
      yield entry

  def _select(self, where: str, values: tuple) -> Iterator[Entry]:
    with self._translated_errors():
      rows = self._db.execute(
        f'SELECT {COLUMNS} FROM tracks WHERE {where} ORDER BY path', values
      )
      for row in rows:
        yield self._entry(row)

  def _entry(self, row: tuple) -> Entry:
    try:
      return entry_from_row(row)
    except (TypeError, ValueError) as error:
      raise self._damaged_error(error) from error

  def _damaged_error(self, reason: object) -> DataError:
    return DataError(
      f'{self.path}: damaged ({reason}); delete it and index the folders again'
    )

  def delete(self, entries: list[Entry]) -> None:
    """Removes tracks from the index."""
    with self._translated_errors(), self._db:
      self._db.executemany(
        'DELETE FROM tracks WHERE id = ?', [(entry.id,) for entry in entries]
      )

  def move(self, path: str, to: str, root: str) -> None:
    """Changes a track's path and root; does nothing if there is no track."""
    values = os.fsencode(to), os.fsencode(root), os.fsencode(path)
    with self._translated_errors(), self._db:
      self._db.execute(
        'UPDATE OR REPLACE tracks SET path = ?, root = ? WHERE path = ?', values
      )

  def rename(self, changes: list[tuple[Entry, str, str]]) -> None:
    """Gives tracks new paths in one transaction.

    Args:
      changes: tuples of a track, its new path and its new root. A track that
        already has a new path is replaced, unless it is renamed itself.
    """
    # A new path may be the old path of another track, so all old paths are
    # replaced by unique placeholders first.
    freed = [(b'\0%d' % entry.id, entry.id) for entry, _, _ in changes]
    final = [
      (os.fsencode(path), os.fsencode(root), entry.id)
      for entry, path, root in changes
    ]
    with self._translated_errors(), self._db:
      self._db.executemany('UPDATE tracks SET path = ? WHERE id = ?', freed)
      self._db.executemany(
        'UPDATE OR REPLACE tracks SET path = ?, root = ? WHERE id = ?', final
      )

  def roots(self) -> list[tuple[str, int]]:
    """Returns the indexed folders with their numbers of tracks."""
    with self._translated_errors():
      rows = self._db.execute(
        'SELECT root, count(*) FROM tracks GROUP BY root ORDER BY root'
      ).fetchall()
    try:
      return [(os.fsdecode(root), number) for root, number in rows]
    except TypeError as error:
      raise self._damaged_error(error) from error

  def touch(self, path: str, stat: os.stat_result) -> None:
    """Records a file's new size and time after only its tags have changed."""
    values = stat.st_size, int64(stat.st_mtime_ns), os.fsencode(path)
    with self._translated_errors(), self._db:
      self._db.execute(
        'UPDATE tracks SET size_bytes = ?, mtime_ns = ? WHERE path = ?', values
      )

  def num_classified(self) -> int:
    """Returns the number of tracks that have a prediction."""
    with self._translated_errors():
      (count,) = self._db.execute(
        "SELECT count(*) FROM tracks WHERE failure = ''"
      ).fetchone()
    return count

  def classified_ids(self) -> np.ndarray:
    """Returns i64[n], the sorted ids of the tracks that have a prediction."""
    with self._translated_errors():
      rows = self._db.execute(
        "SELECT id FROM tracks WHERE failure = '' ORDER BY id"
      )
      return np.fromiter((key for (key,) in rows), np.int64)

  def embedding(self, entry: Entry) -> np.ndarray:
    """Returns f32[D], the embedding of a track that has a prediction."""
    return self.embeddings(after=entry.id - 1, at_most=1)[1][0]

  def embeddings(
    self, after: int = 0, at_most: int = -1
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns i64[n] ids and f32[n, D] embeddings, sorted by id.

    Args:
      after: returns only tracks with a larger id than this.
      at_most: the maximum number of tracks; -1 for all.

    Raises:
      DataError: the embeddings differ in size.
    """
    with self._translated_errors():
      rows = self._db.execute(
        "SELECT id, embedding FROM tracks WHERE failure = '' AND id > ? "
        'ORDER BY id LIMIT ?',
        (after, at_most),
      )
      ids, blobs = [], bytearray()
      size = None
      for key, blob in rows:
        if not isinstance(blob, bytes) or not blob or len(blob) % 4:
          raise self._damaged_error('not an embedding')
        size = len(blob) if size is None else size
        if len(blob) != size:
          raise self._damaged_error('embeddings of different sizes')
        ids.append(key)
        blobs += blob
    vectors = np.frombuffer(bytes(blobs), '<f4')
    return np.array(ids, np.int64), vectors.reshape(len(ids), -1)


def _blob(array: ArrayLike | None) -> bytes | None:
  return None if array is None else np.asarray(array, '<f4').tobytes()
