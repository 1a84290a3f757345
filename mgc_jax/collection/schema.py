"""The tables of an index, and how a file says that it is one."""

FORMAT_VERSION = 1
APPLICATION_ID = 0x6D676331  # says whose file it is
_SCHEMA = """
CREATE TABLE model (
  name BLOB NOT NULL,  -- bytes, as of a path
  digest TEXT NOT NULL,
  genres TEXT NOT NULL,  -- JSON, in the model's order
  token TEXT NOT NULL  -- of this index and no other, made anew with it
);
CREATE TABLE tracks (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- another after every change
  path BLOB NOT NULL UNIQUE,
  root BLOB NOT NULL,  -- the folder that was indexed
  size_bytes INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  artist TEXT NOT NULL,  -- of its tags; empty where they do not say
  title TEXT NOT NULL,
  failure TEXT NOT NULL,  -- why there is no answer; empty where there is one
  duration_s REAL,
  genre TEXT,
  probability REAL,
  probabilities BLOB,  -- f32[C]
  embedding BLOB  -- f32[D], the mean of the windows'
);
CREATE INDEX answered ON tracks (id) WHERE failure = '';
"""
# One transaction: a killed process leaves an empty file or a whole one.
CREATION = (
  f'BEGIN;{_SCHEMA}PRAGMA application_id = {APPLICATION_ID};'
  f'PRAGMA user_version = {FORMAT_VERSION};COMMIT;'
)
