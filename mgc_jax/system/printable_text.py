"""Makes names of any bytes fit for one line of a terminal or a file."""

import unicodedata

# Control characters, halves of surrogate pairs, line and paragraph separators.
_NOT_SHOWN = ('Cc', 'Cs', 'Zl', 'Zp')


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
