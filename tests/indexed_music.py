"""Makes a small index without running a model, and organises its files."""

import collections
import hashlib
import os

import numpy as np

from mgc_jax.collection import organise
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.collection.journal import Journal

_GENRES = ('jazz', 'rock')


def make(tmp_path, num_tracks):
  """Writes `music/<album>/<n>.mp3` and an index of it; returns the folder."""
  with Index(tmp_path / 'index', create=True) as index:
    index.set_model('crnn', '0' * 64, _GENRES)
    for i in range(num_tracks):
      path = tmp_path / 'music' / f'album {i % 3}' / f'{i}.mp3'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(f'music {i}'.encode() * 50)
      put(index, path, tmp_path / 'music', genre=_GENRES[i % 2])
  return tmp_path / 'music'


def put(index, path, root, **values):
  """Adds a file to the index with a made-up prediction."""
  found = os.stat(path)
  facts = {'artist': 'Ann', 'title': '', 'duration_s': 2.0}
  facts |= {'genre': 'jazz', 'probability': 0.9, **values}
  index.put(
    Entry(str(path), str(root), found.st_size, found.st_mtime_ns, **facts),
    np.ones(2),
    np.ones(4),
  )


def sort(tmp_path, method='move', levels=('genre',), to=None, kinds=()):
  """Organises the indexed files; returns how many failed."""
  target = os.path.realpath(to or tmp_path / 'sorted')
  with Index(tmp_path / 'index') as index:
    journal = Journal(index.path)
    plan = organise.plan(index, journal, target, method, levels, 0.5, kinds)
    return organise.apply(index, journal, plan)


def unsort(tmp_path):
  """Undoes `sort`; returns how many files failed."""
  target = os.path.realpath(tmp_path / 'sorted')
  with Index(tmp_path / 'index') as index:
    journal = Journal(index.path)
    return organise.undo(index, journal, journal.records(target))


def contents(*folders):
  """Counts the digests of all files except links and partial copies."""
  return collections.Counter(
    hashlib.sha256(path.read_bytes()).hexdigest()
    for folder in folders
    for path in folder.rglob('*')
    if path.is_file() and not path.is_symlink() and path.suffix != '.partial'
  )


def names_in(folder):
  """Returns the relative paths of all files in a folder, sorted."""
  return sorted(
    str(path.relative_to(folder))
    for path in folder.rglob('*')
    if not path.is_dir()
  )
