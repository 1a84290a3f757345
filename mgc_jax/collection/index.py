"""The index: one SQLite file, a row per track.

Every change is a transaction, so a killed process leaves the index as it was
at the last one. Paths are kept as the bytes that the file system has.
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
from mgc_jax.collection.entry import COLUMNS, Answered, Entry, entry_of, int64
from mgc_jax.system.errors import ConfigError, DataError

_WAIT_S = 30.0  # for another process's transaction


class Index:
  """An open index; use it in a `with` statement, which closes it.

  Each method raises `DataError` if the file is damaged or the disk is full.
  """

  def __init__(self, path: str | os.PathLike, create: bool = False):
    """Opens a file.

    Args:
      path: of the index.
      create: whether a missing file is created.

    Raises:
      ConfigError: the file does not exist, and `create` is False.
      DataError: the file is damaged, was written by another version, or cannot
        be opened.
    """
    self.path = pathlib.Path(path)
    with self._named():
      if not create and not self.path.is_file():
        raise self._absent()
      self.path.parent.mkdir(parents=True, exist_ok=True)
      self._db = sqlite3.connect(self.path, timeout=_WAIT_S)
      self._db.execute('PRAGMA trusted_schema = OFF')
      self._open(create)

  def _absent(self) -> ConfigError:
    return ConfigError(
      f'--index={self.path}: no index there; make one: '
      'python -m mgc_jax.collection index DIR'
    )

  def _open(self, create: bool) -> None:
    (owner,) = self._db.execute('PRAGMA application_id').fetchone()
    (version,) = self._db.execute('PRAGMA user_version').fetchone()
    (size,) = self._db.execute('PRAGMA page_count').fetchone()
    if not size and not create:  # it is just being made
      raise self._absent()
    if not size:
      self._db.executescript(schema.CREATION)
    elif owner != schema.APPLICATION_ID:
      raise DataError(f'{self.path}: no index of this package; name another')
    elif version != schema.FORMAT_VERSION:
      raise DataError(
        f'{self.path}: written by another version of this package (format '
        f'{version}, this is {schema.FORMAT_VERSION}); name another '
        '--index, and index the folders again'
      )

  def __enter__(self) -> 'Index':
    """Returns itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Commits, and closes the file."""
    with self._named(), contextlib.closing(self._db):
      self._db.commit()

  @contextlib.contextmanager
  def _named(self) -> Iterator[None]:
    """Turns errors of SQLite and of the disk into ones that name the file."""
    try:
      yield
    except OSError as error:
      raise DataError(
        f'{self.path}: cannot be made: {error.strerror}'
      ) from error
    except sqlite3.OperationalError as error:  # the disk, a lock, a right
      raise DataError(
        f'{self.path}: cannot be used ({error}); what was indexed before is '
        'whole'
      ) from error
    except sqlite3.DatabaseError as error:
      raise DataError(
        f'{self.path}: damaged ({error}); delete it, and index the folders '
        'again; no music is in it'
      ) from error

  def check(self) -> None:
    """Reads the whole file; raises `DataError` if a part is damaged."""
    with self._named():
      (said,) = self._db.execute('PRAGMA quick_check(1)').fetchone()
      if said != 'ok':
        raise sqlite3.DatabaseError(said)

  def model(self) -> tuple[str, str, tuple[str, ...]] | None:
    """Returns name, digest and genres of the model; None in an empty index."""
    with self._named():
      row = self._db.execute(
        'SELECT name, digest, genres FROM model'
      ).fetchone()
    if row is None:
      return None
    try:
      name, digest, genres = row
      return os.fsdecode(name), str(digest), tuple(map(str, json.loads(genres)))
    except (TypeError, ValueError) as error:
      raise self._damaged(error) from error

  def token(self) -> str:
    """Returns an identifier that a new index at the same path does not have."""
    with self._named():
      row = self._db.execute('SELECT token FROM model').fetchone()
    return str(row[0]) if row else ''

  def set_model(self, name: str, digest: str, genres: tuple[str, ...]) -> None:
    """Records which model gives all answers of this index."""
    row = os.fsencode(name), digest, json.dumps(genres)
    row = (*row, secrets.token_hex(16))
    with self._named(), self._db:
      self._db.execute('INSERT INTO model VALUES (?, ?, ?, ?)', row)

  def put(
    self,
    entry: Entry,
    probabilities: ArrayLike | None = None,
    embedding: ArrayLike | None = None,
  ) -> None:
    """Writes a track, replacing one of the same path; needs a `commit`.

    Args:
      entry: the track. Its `id` is ignored: the row gets a new one.
      probabilities: f[C] of the model's genres; None if there is no answer.
      embedding: f[D] of the track; None if there is no answer.
    """
    values = dataclasses.asdict(entry)
    del values['id']
    values['path'] = os.fsencode(entry.path)
    values['root'] = os.fsencode(entry.root)
    values['mtime_ns'] = int64(entry.mtime_ns)
    values['probabilities'] = _blob(probabilities)
    values['embedding'] = _blob(embedding)
    names = ', '.join(values)
    places = ', '.join('?' * len(values))
    with self._named():
      self._db.execute(
        f'REPLACE INTO tracks ({names}) VALUES ({places})',
        tuple(values.values()),
      )

  def commit(self) -> None:
    """Makes what `put` wrote permanent."""
    with self._named():
      self._db.commit()

  def find(self, path: str) -> Entry | None:
    """Returns the track at a path; None if the index has none there."""
    with self._named():
      row = self._db.execute(
        f'SELECT {COLUMNS} FROM tracks WHERE path = ?', (os.fsencode(path),)
      ).fetchone()
    return self._entry(row) if row else None

  def entries(self, genre: str | None = None) -> Iterator[Answered]:
    """Yields the tracks that have an answer, by path.

    Args:
      genre: yields the tracks of this genre only; None for all.
    """
    where, values = ('genre = ?', (genre,)) if genre else ('true', ())
    yield from self._answered(where, values)

  def failures(self) -> Iterator[Entry]:
    """Yields the tracks that have no answer, by path."""
    yield from self._select("failure != ''", ())

  def inside(self, folder: str) -> Iterator[Entry]:
    """Yields all tracks in a folder and its sub-folders, by path."""
    low = os.fsencode(os.path.join(folder, ''))
    high = low[:-1] + bytes([low[-1] + 1])
    yield from self._select('path > ? AND path < ?', (low, high))

  def by_id(self, ids: list[int]) -> dict[int, Answered]:
    """Returns the answered tracks with some ids; unknown ids are left out."""
    found = {}
    for one in ids:
      for entry in self._answered('id = ?', (int(one),)):
        found[one] = entry
    return found

  def _answered(self, where: str, values: tuple) -> Iterator[Answered]:
    for entry in self._select(f"failure = '' AND {where}", values):
      assert isinstance(entry, Answered)  # having no failure
      yield entry

  def _select(self, where: str, values: tuple) -> Iterator[Entry]:
    with self._named():
      rows = self._db.execute(
        f'SELECT {COLUMNS} FROM tracks WHERE {where} ORDER BY path', values
      )
      for row in rows:
        yield self._entry(row)

  def _entry(self, row: tuple) -> Entry:
    try:
      return entry_of(row)
    except (TypeError, ValueError) as error:
      raise self._damaged(error) from error

  def _damaged(self, why: object) -> DataError:
    return DataError(
      f'{self.path}: damaged ({why}); delete it, and index the folders again'
    )

  def delete(self, entries: list[Entry]) -> None:
    """Removes tracks from the index."""
    with self._named(), self._db:
      self._db.executemany(
        'DELETE FROM tracks WHERE id = ?', [(entry.id,) for entry in entries]
      )

  def move(self, path: str, to: str, root: str) -> None:
    """Gives a track a new path and root; does nothing without such a track."""
    values = os.fsencode(to), os.fsencode(root), os.fsencode(path)
    with self._named(), self._db:
      self._db.execute(
        'UPDATE OR REPLACE tracks SET path = ?, root = ? WHERE path = ?', values
      )

  def rename(self, changes: list[tuple[Entry, str, str]]) -> None:
    """Gives tracks new paths, all of them or none.

    Args:
      changes: each a track, its new path and its new root. A track that is
        already at a new path is replaced, unless it is renamed itself.
    """
    # A new path may be the old one of another track: first all old ones go.
    freed = [(b'\0%d' % entry.id, entry.id) for entry, _, _ in changes]
    final = [
      (os.fsencode(path), os.fsencode(root), entry.id)
      for entry, path, root in changes
    ]
    with self._named(), self._db:
      self._db.executemany('UPDATE tracks SET path = ? WHERE id = ?', freed)
      self._db.executemany(
        'UPDATE OR REPLACE tracks SET path = ?, root = ? WHERE id = ?', final
      )

  def roots(self) -> list[tuple[str, int]]:
    """Returns the indexed folders, each with the number of its tracks."""
    with self._named():
      rows = self._db.execute(
        'SELECT root, count(*) FROM tracks GROUP BY root ORDER BY root'
      ).fetchall()
    try:
      return [(os.fsdecode(root), number) for root, number in rows]
    except TypeError as error:
      raise self._damaged(error) from error

  def touch(self, path: str, found: os.stat_result) -> None:
    """Records a file's new size and time when only its tags have changed."""
    values = found.st_size, int64(found.st_mtime_ns), os.fsencode(path)
    with self._named(), self._db:
      self._db.execute(
        'UPDATE tracks SET size_bytes = ?, mtime_ns = ? WHERE path = ?', values
      )

  def num_answered(self) -> int:
    """Returns the number of tracks that have an answer."""
    with self._named():
      (count,) = self._db.execute(
        "SELECT count(*) FROM tracks WHERE failure = ''"
      ).fetchone()
    return count

  def answered_ids(self) -> np.ndarray:
    """Returns i64[n], the ids of the tracks that have an answer, in order."""
    with self._named():
      rows = self._db.execute(
        "SELECT id FROM tracks WHERE failure = '' ORDER BY id"
      )
      return np.fromiter((key for (key,) in rows), np.int64)

  def embedding(self, entry: Entry) -> np.ndarray:
    """Returns f32[D] of a track that has an answer."""
    return self.embeddings(after=entry.id - 1, at_most=1)[1][0]

  def embeddings(
    self, after: int = 0, at_most: int = -1
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns i64[n] ids and f32[n, D] embeddings, by id.

    Args:
      after: only tracks with a larger id.
      at_most: the maximum number of tracks; -1 for all.

    Raises:
      DataError: the embeddings do not all have the same size.
    """
    with self._named():
      rows = self._db.execute(
        "SELECT id, embedding FROM tracks WHERE failure = '' AND id > ? "
        'ORDER BY id LIMIT ?',
        (after, at_most),
      )
      ids, blobs = [], bytearray()
      size = None
      for key, blob in rows:
        if not isinstance(blob, bytes) or not blob or len(blob) % 4:
          raise self._damaged('an embedding that is none')
        size = len(blob) if size is None else size
        if len(blob) != size:
          raise self._damaged('embeddings of several sizes')
        ids.append(key)
        blobs += blob
    vectors = np.frombuffer(bytes(blobs), '<f4')
    return np.array(ids, np.int64), vectors.reshape(len(ids), -1)


def _blob(array: ArrayLike | None) -> bytes | None:
  return None if array is None else np.asarray(array, '<f4').tobytes()
