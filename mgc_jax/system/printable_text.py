"""Escapes names that contain any bytes, to print them on one line."""

import unicodedata

# Control characters, halves of surrogate pairs, line and paragraph separators.
_NOT_SHOWN = ('Cc', 'Cs', 'Zl', 'Zp')


def is_shown(character: str) -> bool:
  """Returns whether a character is printed without escaping.

  Spaces of any width, joiners and soft hyphens are part of names and are
  printed; control characters, surrogates (bytes that are not UTF-8) and line
  separators are escaped.

  Args:
    character: a string of length 1.
  """
  return unicodedata.category(character) not in _NOT_SHOWN


def printable(text: str) -> str:
  """Returns a name on one line; escapes characters that are not `is_shown`.

  Args:
    text: a file name in Python's encoding, which can represent any bytes.
  """
  return ''.join(
    c if is_shown(c) else c.encode('unicode_escape').decode() for c in text
  )
