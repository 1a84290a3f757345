"""Names are compared by one rule, and printed by another one."""

import sys
import unicodedata

import pytest

from mgc_jax.audio.names import comparable, known_artist
from mgc_jax.system.printable_text import is_shown, printable


@pytest.mark.parametrize(
  'other',
  ['BJÖRK', 'Bjo\u0308rk', ' björk\t', 'Björk\u3000', '\xa0BJO\u0308RK'],
)
def test_spellings_of_one_name_are_equal(other):
  assert comparable(other) == comparable('Björk')


@pytest.mark.parametrize(
  ('one', 'other'),
  [
    ('STRASSE', 'Straße'),
    ('ＪＡＺＺ', 'jazz'),
    ('City\u3000Pop', 'city  pop'),
    ('ﬁlm', 'Film'),
  ],
)
def test_compatible_characters_are_equal(one, other):
  assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
  ('one', 'other'),
  [('Bjork', 'Björk'), ('R&B', 'RB'), ('hip hop', 'hiphop'), ('x', 'y')],
)
def test_different_names_differ(one, other):
  assert comparable(one) != comparable(other)


def test_comparable_is_idempotent():
  """Tracks store artists in this form, and copying them must not change it."""
  for code in range(sys.maxunicode + 1):
    once = comparable(chr(code))
    assert comparable(once) == once


@pytest.mark.parametrize(
  'name',
  [
    '',
    '  ',
    'Various Artists',
    'VARIOUS ARTISTS ',
    'various',
    'VA',
    'V.A.',
    '<Unknown>',
    '[unknown]',
    'Unknown Artist',
    '(Various Artists)',
    'Unbekannter Ku\u0308nstler',
    'Ｖａｒｉｏｕｓ\u3000Artists',
  ],
)
def test_placeholders_are_not_artists(name):
  assert known_artist(name) == ''


@pytest.mark.parametrize(
  ('name', 'wanted'),
  [
    ('Vangelis', 'vangelis'),
    ('The Various Artists Band', 'the various artists band'),
    ('Unknown Mortal Orchestra', 'unknown mortal orchestra'),
    ('!!!', '!!!'),
    ('(Sandy) Alex G', '(sandy) alex g'),
  ],
)
def test_similar_names_are_artists(name, wanted):
  assert known_artist(name) == wanted


@pytest.mark.parametrize(
  'name',
  [
    '日本語\u3000ポップ',
    'Hôtel\xa0California',
    '👩\u200d🎤',
    'می\u200cخواهم',
    'soft\xadhyphen',
    unicodedata.normalize('NFD', 'Zoë'),
  ],
)
def test_printable_characters_are_unchanged(name):
  assert printable(name) == name and all(map(is_shown, name))


@pytest.mark.parametrize(
  ('name', 'wanted'),
  [
    ('a\nb', r'a\nb'),
    ('\x1b[2J', r'\x1b[2J'),
    ('a\u2028b', r'a\u2028b'),
    (b'caf\xe9'.decode('utf-8', 'surrogateescape'), r'caf\udce9'),
    ('a\0', r'a\x00'),
  ],
)
def test_control_characters_are_escaped(name, wanted):
  assert printable(name) == wanted
