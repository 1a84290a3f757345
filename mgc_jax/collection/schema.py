"""The SQL schema of an index, and the numbers that identify its file."""

FORMAT_VERSION = 1
APPLICATION_ID = 0x6D676331  # marks a SQLite file as an index of this package
_SCHEMA = """
CREATE TABLE model (
  name BLOB NOT NULL,  -- bytes, because it may be a path
  digest TEXT NOT NULL,
  genres TEXT NOT NULL,  -- JSON, in the model's order
  token TEXT NOT NULL  -- random; identifies this index
);
CREATE TABLE tracks (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- new after every change
  path BLOB NOT NULL UNIQUE,
  root BLOB NOT NULL,  -- the folder that was indexed
  size_bytes INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  artist TEXT NOT NULL,  -- from the tags; empty if unknown
  title TEXT NOT NULL,
  failure TEXT NOT NULL,  -- why there is no prediction; empty if there is one
  duration_s REAL,
  genre TEXT,
  probability REAL,
  probabilities BLOB,  -- f32[C]
  embedding BLOB  -- f32[D], the mean over the windows
);
CREATE INDEX answered ON tracks (id) WHERE failure = '';
"""
# One transaction: a killed process leaves an empty file or a complete one.
CREATION = (
  f'BEGIN;{_SCHEMA}PRAGMA application_id = {APPLICATION_ID};'
  f'PRAGMA user_version = {FORMAT_VERSION};COMMIT;'
)
