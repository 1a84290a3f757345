"""How names of artists and genres, from tags and lists, are compared."""

import unicodedata
from collections.abc import Iterable

# What programs write, in capitals or not, where the artist is not known, or
# where there are many.
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
  """Returns a name in the form in which names are compared.

  Two names are the same if they differ only in the way Unicode writes them
  (NFKC), in capitals, or in white space at their ends or repeated inside.

  Args:
    name: of an artist or a genre.
  """
  folded = unicodedata.normalize('NFKC', name).casefold()
  return ' '.join(unicodedata.normalize('NFKC', folded).split())


def known_spelling(name: str, known: Iterable[str]) -> str:
  """Returns how a name is spelled in a list; '' where it is not in it.

  Args:
    name: of any spelling.
    known: names as they are spelled; of several that fit, the name itself is
      preferred, and then the first.
  """
  known = list(known)
  if name in known:
    return name
  wanted = comparable(name)
  return next((x for x in known if comparable(x) == wanted), '')


def known_artist(name: str) -> str:
  """Returns an artist's name as artists are compared.

  Args:
    name: from a tag or a manifest.

  Returns:
    The comparable name; empty where the name stands for nobody in particular
    ("Various Artists", "<unknown>"). An empty artist equals no other.
  """
  name = comparable(name)
  return '' if name.strip('<>[]() ') in _NOBODY else name
