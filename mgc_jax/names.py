"""How names from tags, disks and lists are compared, and how they are shown."""

import unicodedata
from collections.abc import Iterable

# Control characters, halves of surrogate pairs, line and paragraph separators.
_NOT_SHOWN = ('Cc', 'Cs', 'Zl', 'Zp')
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


def is_shown(character: str) -> bool:
  """Returns whether a character can be printed as it is.

  Args:
    character: one character. Spaces of any width, joiners and soft hyphens are
      part of names and are printed; control characters, surrogates (bytes that
      are not UTF-8) and line separators are not.
  """
  return unicodedata.category(character) not in _NOT_SHOWN


def printable(text: str) -> str:
  """Returns a name on one line, with what `is_shown` refuses escaped.

  Args:
    text: a name from a disk: any bytes, as Python's file names have them.
  """
  return ''.join(
    c if is_shown(c) else c.encode('unicode_escape').decode() for c in text
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
