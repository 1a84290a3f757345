"""Tags of real files, and of files that somebody made on purpose."""

import struct

import mutagen
import numpy as np
import pytest
from mutagen import id3

from mgc_jax.audio import tags as audio_tags
from mgc_jax.collection import tags
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.errors import DataError
from tests.conftest import write_tone


@pytest.mark.parametrize('version', [3, 4])
def test_an_mp3_keeps_the_version_and_the_frames_of_its_tag(tmp_path, version):
  path = write_tone(tmp_path / 'a.mp3', rate_hz=22050)
  old = id3.ID3()
  old.add(id3.TPE1(encoding=1, text=['Zoë']))
  if version == 3:
    old.add(id3.TYER(encoding=0, text=['1999']))
    old.add(
      id3.RVAD(adjustments=[1, 2])
      if hasattr(id3, 'RVAD')
      else id3.TXXX(encoding=0, desc='x', text=['y'])
    )
  old.save(path, v2_version=version)
  tags.write_genre(str(path), 'rock')
  found = id3.ID3(path, translate=False)
  assert found.version[:2] == (2, version)
  assert set(found) == {*old, 'TCON'} and str(found['TCON']) == 'rock'
  assert str(found['TPE1']) == 'Zoë'
  assert audio_tags.read(str(path)) == ('Zoë', '')


def test_a_format_without_tags_is_named(tmp_path):
  path = write_tone(tmp_path / 'a.au')
  before = path.read_bytes()
  with pytest.raises(DataError, match='tags cannot be'):
    tags.write_genre(str(path), 'rock')
  assert path.read_bytes() == before
  assert [x.name for x in tmp_path.iterdir()] == ['a.au']
  assert audio_tags.read(str(path)) == ('', '')


def test_a_link_is_tagged_where_it_leads_to(tmp_path):
  path = write_tone(tmp_path / 'a.flac')
  (tmp_path / 'link.flac').symlink_to(path)
  tags.write_genre(str(tmp_path / 'link.flac'), 'jazz')
  assert (tmp_path / 'link.flac').is_symlink()
  assert mutagen.File(path)['genre'] == ['jazz']


def test_endless_nesting_is_no_tag(tmp_path):
  atoms = b''
  for _ in range(3000):
    atoms = struct.pack('>I', len(atoms) + 8) + b'moov' + atoms
  path = tmp_path / 'a.m4a'
  path.write_bytes(struct.pack('>I', 12) + b'ftypM4A ' + atoms)
  assert audio_tags.read(str(path)) == ('', '')
  with pytest.raises(DataError, match='tags cannot be read'):
    audio_tags.genre(str(path))


def test_a_time_that_no_database_holds(tmp_path):
  path = write_tone(tmp_path / 'a.wav')
  entry = Entry(str(path), '/m', 9, 2**70, '', '', 'no', None)
  with Index(tmp_path / 'index', create=True) as index:
    index.put(entry, np.ones(2), np.ones(2))
    assert index.find(str(path)).mtime_ns == 2**63 - 1
