"""A plugin for beets: the genre of each song by sound, and similar songs.

`beet mgc [QUERY]` classifies songs, and importing does so by itself unless
`mgc.auto` is off. A song gets `mgc_genre` and `mgc_probability`; its tag gets
the genre if it has none and the probability is high enough. The query
`mgc_like:QUERY` finds the songs that sound like those of another query.
"""

import base64
import collections
import functools
import optparse
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from beets import config, ui
from beets.dbcore import types
from beets.dbcore.query import FieldQuery
from beets.importer import ImportSession, ImportTask
from beets.library import Album, Item, Library
from beets.plugins import BeetsPlugin

from mgc_jax.collection import neighbours, spelling
from mgc_jax.evaluation.metrics import RELIABLE_FROM
from mgc_jax.inference.pretrained import BEST, NOT_MUSIC
from mgc_jax.system.errors import ConfigError, DataError

_EMBEDDING = 'mgc_embedding'
_EMBEDDING_TYPE = np.dtype('<f2')


class _Embedding(types.String):
  """Base64 of f16[D]; not shown where all fields of a song are printed."""

  def format(self, value: str | None) -> str:
    """Returns a text that stands for the numbers."""
    return f'{len(_decode(value))} numbers' if value else ''


def _encode(embedding: np.ndarray) -> str:
  return base64.b64encode(embedding.astype(_EMBEDDING_TYPE).tobytes()).decode()


def _decode(text: str) -> np.ndarray:
  """Returns f32[D]."""
  found = np.frombuffer(base64.b64decode(text), _EMBEDDING_TYPE)
  return found.astype(np.float32)


class _Like(FieldQuery[str]):
  """Matches the songs whose embeddings are nearest to those of other songs."""

  def __init__(self, field_name: str, pattern: str, fast: bool = False):
    """Searches nothing yet.

    Args:
      field_name: `mgc_like`.
      pattern: a query of beets, such as `title:Angel`.
      fast: unused, because SQL cannot compare embeddings.
    """
    super().__init__(field_name, pattern, fast=False)
    self._found: set[int] | None = None
    self._known: set[int] = set()

  def clause(self) -> tuple[None, Sequence[Any]]:
    """Called at the start of each search, for which songs are read again."""
    self._found = None
    return None, ()

  def match(self, obj: Item) -> bool:
    """Returns whether a song is one of the nearest."""
    is_new = obj.id not in self._known and _EMBEDDING in obj
    if self._found is None or is_new:
      self._search(obj._db)
    return obj.id in (self._found or ())

  def _search(self, library: Library) -> None:
    ids, vectors = _embeddings(library)
    self._known = set(ids)
    given = {item.id for item in library.items(self.pattern)}
    rows = [i for i, one in enumerate(ids) if one in given]
    self._found = set()
    if not rows:
      return
    query = neighbours.mean_direction(vectors[rows])
    similarities = neighbours.cosines(vectors, query)
    similarities[rows] = -np.inf
    number = min(config['mgc']['similar'].get(int), len(ids) - len(rows))
    nearest = neighbours.nearest_rows(similarities, number)
    self._found = {ids[i] for i in nearest}


def _embeddings(library: Library) -> tuple[list[int], np.ndarray]:
  """Returns the ids of songs, and f32[n, D]; of the most usual D."""
  with library.transaction() as transaction:
    rows = transaction.query(
      'SELECT entity_id, value FROM item_attributes WHERE key = ?',
      (_EMBEDDING,),
    )
  vectors = {key: _decode(value) for key, value in rows if value}
  sizes = collections.Counter(map(len, vectors.values())).most_common(1)
  kept = {key: x for key, x in vectors.items() if len(x) == sizes[0][0]}
  return list(kept), np.array(list(kept.values()), np.float32)


class MgcPlugin(BeetsPlugin):
  """Classifies songs as a command, and as a stage of the import."""

  item_types = {
    'mgc_genre': types.STRING,
    'mgc_probability': types.Float(4),
    _EMBEDDING: _Embedding(),
  }
  item_queries = {'mgc_like': _Like}

  def __init__(self):
    """Reads the settings; loads no model yet."""
    super().__init__()
    self.config.add(
      {
        'auto': True,
        'force': False,
        'pretend': False,
        'model': BEST,
        'min_probability': RELIABLE_FROM,
        'map': {},
        'similar': 20,
      }
    )
    if self.config['auto'].get(bool):
      self.import_stages = [self._imported]

  def commands(self) -> list[ui.Subcommand]:
    """Returns the command `beet mgc`."""
    command = ui.Subcommand('mgc', help='classify songs by genre')
    command.parser.add_option(
      '-p',
      '--pretend',
      action='store_true',
      help='show the genres but change nothing',
    )
    command.parser.add_option(
      '-f',
      '--force',
      action='store_true',
      help='classify songs again, and replace genres that they have',
    )
    command.func = self._run
    return [command]

  def _run(
    self, library: Library, options: optparse.Values, words: list[str]
  ) -> None:
    self.config.set_args(vars(options))
    self._classify(library, library.items(words), ui.should_write())

  def _imported(self, session: ImportSession, task: ImportTask) -> None:
    # The importer itself writes the tags, after the files are in their place.
    self._classify(session.lib, task.imported_items(), write=False)

  @functools.cached_property
  def _model(self) -> Any:
    import mgc_jax

    try:
      return mgc_jax.load(self.config['model'].as_str())
    except (ConfigError, DataError) as error:
      raise ui.UserError(f'mgc.model: {error}') from error

  def _classify(
    self, library: Library, items: Iterable[Item], write: bool
  ) -> None:
    """Classifies songs that have not been yet, and stores each at once."""
    from mgc_jax.inference import prefetch

    is_forced = self.config['force'].get(bool)
    to_do = [x for x in items if is_forced or not x.get('mgc_genre')]
    if not to_do:
      return
    names = self._names(library)
    paths = [os.fsdecode(item.path) for item in to_do]
    albums = {}
    with prefetch.ahead(self._model, paths) as predictions:
      for item, (path, found) in zip(to_do, predictions, strict=True):
        if isinstance(found, DataError):
          self._log.warning('{}: {}', path, found)
          continue
        if found.warning:
          self._log.warning('{}: {}', path, found.warning)
        self._store(item, found, names, write)
        album = item.get_album()
        if album:
          albums[album.id] = album
    for album in albums.values():
      self._store_album(album, names)

  def _names(self, library: Library) -> dict[str, str]:
    """Returns how genres are written: as given, or as most tags have them."""
    with library.transaction() as transaction:
      rows = transaction.query(
        'SELECT genres, COUNT(*) FROM items GROUP BY genres'
      )
    parse = Item._type('genres').from_sql
    used = [name for text, n in rows for name in (parse(text) or []) * n]
    given = [f'{x}={y}' for x, y in self.config['map'].get(dict).items()]
    genres = self._model.genres
    try:
      own = spelling.given_names(given, genres)
    except ConfigError as error:
      raise ui.UserError(f'mgc.map: {error}') from error
    return {**spelling.most_used(used, genres), **own}

  def _store(
    self, item: Item, found: Any, names: dict[str, str], write: bool
  ) -> None:
    """Stores a prediction, and writes the tag if that changes."""
    item['mgc_genre'] = found.genre
    item['mgc_probability'] = round(found.probability, 4)
    item[_EMBEDDING] = _encode(found.embedding)
    changes = self._is_reliable(found.genre, found.probability) and (
      self.config['force'].get(bool) or not item.genres
    )
    name = names.get(found.genre, found.genre)
    if changes:
      item.genres = [name]
    self._log.info(
      '{}: {} ({:.0%}){}',
      item,
      name,
      found.probability,
      '' if changes else ', genre tag not changed',
    )
    if self.config['pretend'].get(bool):
      return
    if write and changes:
      item.try_write()
    item.store()

  def _is_reliable(self, genre: str, probability: float) -> bool:
    least = self.config['min_probability'].as_number()
    return genre != NOT_MUSIC and probability >= least

  def _store_album(self, album: Album, names: dict[str, str]) -> None:
    """Gives an album without a genre that of most of its songs."""
    if self.config['pretend'].get(bool):
      return
    if album.genres and not self.config['force'].get(bool):
      return
    counts = collections.Counter(
      item['mgc_genre']
      for item in album.items()
      if self._is_reliable(
        item.get('mgc_genre', NOT_MUSIC), item.get('mgc_probability', 0.0)
      )
    )
    if counts:
      genre = counts.most_common(1)[0][0]
      album.genres = [names.get(genre, genre)]
      album.store(inherit=False)
