"""Compares names of artists and genres from tags and lists."""

import unicodedata
from collections.abc import Iterable

# What programs write, in any case, if the artist is unknown or there are many.
_NOBODY = frozenset(
  (
    '',
    'n/a',
    'no artist',
    'unknown',
    'unknown artist',
    'artist unknown',
    'artista desconocido',
    'artiste inconnu',
    'unbekannter interpret',
    'unbekannter künstler',
    'v.a.',
    'v. a.',
    'v/a',
    'va',
    'aa.vv.',
    'vv.aa.',
    'various',
    'various artist',
    'various artists',
    'various interprets',
    'various performers',
    'artistes divers',
    'artisti vari',
    'varios artistas',
    'verschiedene interpreten',
    'verschiedene künstler',
  )
)


def comparable(name: str) -> str:
  """Returns the normalised form of a name, by which names are compared.

  Names are the same if they differ only in Unicode form (NFKC), case, leading
  or trailing white space, or repeated white space.

  Args:
    name: an artist or a genre.
  """
  folded = unicodedata.normalize('NFKC', name).casefold()
  return ' '.join(unicodedata.normalize('NFKC', folded).split())


def known_spelling(name: str, known: Iterable[str]) -> str:
  """Returns how a name is spelled in a list; '' if the list lacks it.

  Args:
    name: a name in any spelling.
    known: the list. If several of its names are the same, an exact match is
      preferred, then the first.
  """
  known = list(known)
  if name in known:
    return name
  wanted = comparable(name)
  return next((x for x in known if comparable(x) == wanted), '')


def known_artist(name: str) -> str:
  """Returns the normalised form of an artist's name.

  Args:
    name: an artist from a tag or a manifest.

  Returns:
    The `comparable` name; empty if the name is a placeholder ("Various
    Artists", "<unknown>"). An empty artist equals no other.
  """
  name = comparable(name)
  return '' if name.strip('<>[]() ') in _NOBODY else name
