"""Chooses how genres are spelled in the tags of a collection."""

import collections
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from tqdm import tqdm

from mgc_jax.audio import tags as audio_tags
from mgc_jax.audio.names import comparable, known_spelling
from mgc_jax.collection.entry import Entry
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import is_shown


def genre_key(name: str) -> str:
  """Returns what names of the same genre share: hiphop, Hip-Hop, Hip Hop."""
  return ''.join(filter(str.isalnum, comparable(name))) or comparable(name)


def given_names(words: Sequence[str], genres: Sequence[str]) -> dict[str, str]:
  """Returns the name that each genre is to have in tags, where one is given.

  Args:
    words: each is `GENRE=NAME`, or the path of a text file of such lines, in
      which empty lines and lines that start with # are ignored.
    genres: those of the model, in its spelling.

  Raises:
    ConfigError: a genre is unknown, a name is empty or has control characters,
      or a file cannot be read; names it.
  """
  found = {}
  for word in words:
    for line in [word] if '=' in word else _lines_of(word):
      genre, _, name = (part.strip() for part in line.partition('='))
      known = known_spelling(genre, genres)
      if not known:
        raise ConfigError(
          f'--map={line}: {genre} is not a genre of this index, which has '
          + ', '.join(genres)
        )
      if not name or not all(map(is_shown, name)):
        raise ConfigError(f'--map={line}: must be like {genre}=Name')
      found[known] = name
  return found


def _lines_of(path: str) -> list[str]:
  try:
    text = pathlib.Path(path).read_text(encoding='utf-8-sig')
  except (OSError, ValueError) as error:  # or not UTF-8
    reason = getattr(error, 'strerror', None) or error
    raise ConfigError(
      f'--map={path}: neither GENRE=NAME nor a text file ({reason})'
    ) from error
  lines = [line.strip() for line in text.splitlines()]
  return [line for line in lines if line and not line.startswith('#')]


def genre_tags(entries: Iterable[Entry]) -> Iterator[str]:
  """Yields the genres in the tags of files; skips those that are unreadable."""
  bar = tqdm(list(entries), 'read tags', unit='file', leave=False, disable=None)
  for entry in bar:
    try:
      yield from audio_tags.genres(entry.path)
    except DataError:
      continue


def most_used(names: Iterable[str], genres: Sequence[str]) -> dict[str, str]:
  """Returns how most tags of a collection spell the genres that they have.

  Args:
    names: the genres in the tags, with repetitions.
    genres: those of the model.
  """
  counts: dict[str, collections.Counter] = collections.defaultdict(
    collections.Counter
  )
  for name in names:
    counts[genre_key(name)][name.strip()] += 1
  return {
    genre: counts[genre_key(genre)].most_common(1)[0][0]
    for genre in genres
    if counts[genre_key(genre)]
  }
