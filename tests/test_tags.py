"""Tags of ordinary files, and of malformed ones."""

import contextlib
import os
import re
import struct
import subprocess

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import apev2, id3

from mgc_jax.audio import tags as audio_tags
from mgc_jax.collection import placing, tags
from mgc_jax.collection.entry import Entry
from mgc_jax.collection.index import Index
from mgc_jax.system.errors import DataError
from tests.conftest import tone, write_tone


@pytest.mark.parametrize('version', [3, 4])
def test_mp3_keeps_the_version_and_frames_of_its_tag(tmp_path, version):
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
  tags.write(str(path), tags.Field(('rock',)))
  found = id3.ID3(path, translate=False)
  assert found.version[:2] == (2, version)
  assert set(found) == {*old, 'TCON'} and str(found['TCON']) == 'rock'
  assert str(found['TPE1']) == 'Zoë'
  assert audio_tags.read(str(path)) == ('Zoë', '')


def test_format_without_tags_raises(tmp_path):
  path = write_tone(tmp_path / 'a.au')
  before = path.read_bytes()
  with pytest.raises(DataError, match='tags cannot be'):
    tags.write(str(path), tags.Field(('rock',)))
  assert path.read_bytes() == before
  assert [x.name for x in tmp_path.iterdir()] == ['a.au']
  assert audio_tags.read(str(path)) == ('', '')


def test_writing_through_a_link_tags_its_target(tmp_path):
  path = write_tone(tmp_path / 'a.flac')
  (tmp_path / 'link.flac').symlink_to(path)
  tags.write(str(tmp_path / 'link.flac'), tags.Field(('jazz',)))
  assert (tmp_path / 'link.flac').is_symlink()
  assert mutagen.File(path)['genre'] == ['jazz']


def test_deeply_nested_atoms_raise(tmp_path):
  atoms = b''
  for _ in range(3000):
    atoms = struct.pack('>I', len(atoms) + 8) + b'moov' + atoms
  path = tmp_path / 'a.m4a'
  path.write_bytes(struct.pack('>I', 12) + b'ftypM4A ' + atoms)
  assert audio_tags.read(str(path)) == ('', '')
  with pytest.raises(DataError, match='tags cannot be read'):
    audio_tags.genre(str(path))


def test_time_beyond_the_range_of_the_database_is_clipped(tmp_path):
  path = write_tone(tmp_path / 'a.wav')
  entry = Entry(str(path), '/m', 9, 2**70, '', '', 'no', None)
  with Index(tmp_path / 'index', create=True) as index:
    index.put(entry, np.ones(2), np.ones(2))
    assert index.find(str(path)).mtime_ns == 2**63 - 1


def test_names_keep_their_letters_and_are_on_one_line(tmp_path):
  path = write_tone(tmp_path / 'a.flac')
  file = mutagen.File(path)
  file['artist'] = ['宇多田\u3000ヒカル', 'other']
  file['title'] = [' Qui\xa0?\r\n\u200d\t  two\u2028lines \x00']
  file.save()
  found = audio_tags.read(str(path))
  assert found == ('宇多田\u3000ヒカル', 'Qui\xa0? \u200d two lines')


def _wav_with_info(path, **info):
  with soundfile.SoundFile(path, 'w', 8000, 1) as file:
    for name, text in info.items():
      setattr(file, name, text)
    file.write(tone())
  return path


def test_wav_is_read_from_its_info_chunk(tmp_path):
  path = _wav_with_info(
    tmp_path / 'a.wav', artist='Zoë', title='Ça va', genre='Polka'
  )
  assert audio_tags.read(str(path)) == ('Zoë', 'Ça va')
  assert audio_tags.genres(str(path)) == ['Polka']


def test_info_chunk_may_be_cp1252(tmp_path):
  path = _wav_with_info(tmp_path / 'a.wav', artist='Zoe-')
  content = path.read_bytes()
  assert content.count(b'Zoe-') == 1
  path.write_bytes(content.replace(b'Zoe-', 'Zoë™'.encode('cp1252')))
  assert audio_tags.read(str(path)) == ('Zoë™', '')


def test_id3_in_a_wav_takes_precedence_per_field(tmp_path):
  path = _wav_with_info(tmp_path / 'a.wav', artist='Info', title='Info')
  file = mutagen.File(path)
  file.add_tags()
  file.tags.add(id3.TPE1(encoding=3, text=['ID3']))
  file.save()
  assert audio_tags.read(str(path)) == ('ID3', 'Info')


@pytest.mark.parametrize(
  'damaged',
  [
    b'LIST\xff\xff\xff\xffINFOIART\xff\xff\xff\xffAnn',
    b'LIST\x03\x00\x00\x00INF',
    b'LIST' * 2,
    struct.pack('<4sI', b'none', 0) * 100_000,
  ],
)
def test_damaged_info_chunk_is_read_as_far_as_possible(damaged, tmp_path):
  path = write_tone(tmp_path / 'a.wav')
  path.write_bytes(path.read_bytes() + damaged)
  assert audio_tags.read(str(path)) in (('', ''), ('Ann', ''))


def _mp3_with_ape(path, **values):
  write_tone(path, rate_hz=22050)
  found = apev2.APEv2()
  found.update(values)
  found.save(path)
  return path


def test_mp3_is_read_from_its_apev2_tag(tmp_path):
  path = _mp3_with_ape(
    tmp_path / 'a.mp3', Artist='Ann', Title='One', Genre=['Polka', 'Folk']
  )
  assert audio_tags.read(str(path)) == ('Ann', 'One')
  assert audio_tags.genres(str(path)) == ['Polka', 'Folk']


def test_id3_takes_precedence_over_apev2_per_field(tmp_path):
  path = _mp3_with_ape(tmp_path / 'a.mp3', Artist='Ape', Title='One')
  old = id3.ID3()
  old.add(id3.TPE1(encoding=3, text=['ID3']))
  old.save(path)
  assert audio_tags.read(str(path)) == ('ID3', 'One')


def test_written_genre_takes_precedence_over_apev2(tmp_path):
  path = _mp3_with_ape(tmp_path / 'a.mp3', Genre='Polka', Album='Best')
  tags.write(str(path), tags.Field(('rock',)))
  assert audio_tags.genres(str(path)) == ['rock']
  assert apev2.APEv2(path)['Album'] == 'Best'
  tags.write(str(path), tags.Field(()))
  assert audio_tags.genres(str(path)) == ['Polka']


ENCODERS = {'wma': 'wmav2', 'm4a': 'aac', 'wv': 'wavpack', 'aiff': 'pcm_s16be'}


def _written(folder, ending):
  path = folder / f'a.{ending}'
  if ending not in ENCODERS:
    return write_tone(path, rate_hz=24000)
  source = write_tone(folder / 'source.wav', rate_hz=24000)
  command = ['ffmpeg', '-v', 'error', '-i', source, '-c:a', ENCODERS[ending]]
  subprocess.run([*command, path], check=True)
  return path


FORMATS = ('mp3', 'flac', 'ogg', 'opus', 'wav', 'aiff', 'm4a', 'wma', 'wv')


@pytest.mark.parametrize('ending', FORMATS)
def test_the_old_genre_tag_is_restored_exactly(ending, tmp_path):
  path = str(_written(tmp_path, ending))
  none = tags.read(path)
  assert none.values == () and audio_tags.genres(path) == []
  several = tags.Field(('Rock', 'Rhythm & Blues/Soul', 'Añoranza'))
  tags.write(path, several)
  assert tags.read(path) == several
  assert audio_tags.genres(path) == list(several.values)
  tags.write(path, tags.Field(('jazz',)))
  assert audio_tags.genres(path) == ['jazz']
  tags.write(path, several)
  assert tags.read(path) == several
  tags.write(path, none)
  assert tags.read(path) == none and audio_tags.genres(path) == []


@pytest.mark.parametrize('name', ['grouping', 'comment'])
@pytest.mark.parametrize('ending', FORMATS)
def test_other_fields_are_written_and_restored_exactly(ending, name, tmp_path):
  path = str(_written(tmp_path, ending))
  tags.write(path, tags.Field(('Folk',)))
  none = tags.read(path, name)
  old = tags.Field(('Añoranza',))
  tags.write(path, old, name)
  assert tags.read(path, name) == old
  shown = subprocess.run(
    [*'ffprobe -v error -show_entries format_tags:stream_tags'.split(), path],
    capture_output=True,
    text=True,
    check=True,
  )
  # ffmpeg calls the grouping in ID3 by the name of its frame.
  assert re.search(
    f'TAG:({name}|TIT1|WM/ContentGroupDescription)=Añoranza',
    shown.stdout,
    re.IGNORECASE,
  )
  tags.write(path, tags.Field(('jazz',)), name)
  assert tags.read(path, name).values == ('jazz',)
  assert audio_tags.genres(path) == ['Folk']
  tags.write(path, none, name)
  assert tags.read(path, name) == none
  assert audio_tags.genres(path) == ['Folk']


def test_comments_with_a_description_are_kept(tmp_path):
  path = write_tone(tmp_path / 'a.mp3', rate_hz=22050)
  old = id3.ID3()
  for language, description, text in [
    ('deu', '', 'gut'),
    ('eng', 'iTunNORM', '00'),
    ('fra', '', 'bon'),
  ]:
    old.add(id3.COMM(1, lang=language, desc=description, text=[text]))
  old.save(path)
  with path.open('ab') as file:
    file.write(_id3v1(17, comment=b'another comment'))
  before = tags.read(str(path), 'comment')
  assert before.values == ('gut',)
  tags.write(str(path), tags.Field(('jazz',)), 'comment')
  found = id3.ID3(path, load_v1=False)
  assert [
    str(found[f'COMM:{x}']) for x in (':deu', 'iTunNORM:eng', ':fra')
  ] == [
    'jazz',
    '00',
    'bon',
  ]
  tags.write(str(path), before, 'comment')
  assert str(id3.ID3(path)['COMM::deu']) == 'gut'
  # Players that read no other tag still find what was there.
  assert path.read_bytes()[-128:] == _id3v1(17, comment=b'another comment')


@pytest.mark.parametrize('ending', ['wav', 'mp3'])
def test_file_without_tags_is_restored_exactly(ending, tmp_path):
  path = write_tone(tmp_path / f'a.{ending}', rate_hz=24000)
  before = path.read_bytes()
  tags.write(str(path), tags.Field(('jazz',)))
  assert path.read_bytes() != before
  tags.write(str(path), tags.Field(()))
  assert path.read_bytes() == before


def test_multiple_values_of_version_2_3_are_kept(tmp_path):
  path = write_tone(tmp_path / 'a.mp3', rate_hz=22050)
  old = id3.ID3()
  old.add(id3.TPE1(encoding=1, text=['Ann', 'Bob/Cid']))
  old.add(id3.TCON(encoding=1, text=['(17)', 'Añoranza']))
  old.save(path, v2_version=3, v23_sep=None)
  before = tags.read(str(path))
  assert before.values == ('(17)', 'Añoranza')
  assert audio_tags.genres(str(path)) == ['Rock', 'Añoranza']
  tags.write(str(path), tags.Field(('jazz',)))
  tags.write(str(path), before)
  assert tags.read(str(path)) == before
  found = id3.ID3(path, translate=False)
  assert found['TPE1'].text == ['Ann', 'Bob/Cid']


def _id3v1(genre, comment=b''):
  texts = [(b'Song', 30), (b'Ann', 30), (b'', 30), (b'1999', 4), (comment, 30)]
  fields = b''.join(text.ljust(size, b'\0') for text, size in texts)
  return b'TAG' + fields + bytes([genre])


def test_genre_number_of_an_id3v1_tag_is_restored(tmp_path):
  path = write_tone(tmp_path / 'a.mp3', rate_hz=22050)
  with path.open('ab') as file:
    file.write(_id3v1(80))
  old = tags.read(str(path))
  assert old == tags.Field((), 80)
  assert audio_tags.genres(str(path)) == ['Folk']
  tags.write(str(path), tags.Field(('jazz',)))
  assert audio_tags.genres(str(path)) == ['jazz']
  assert path.read_bytes()[-128:] == _id3v1(255)  # no genre
  tags.write(str(path), old)
  assert tags.read(str(path)) == old
  assert path.read_bytes()[-128:] == _id3v1(80)
  assert audio_tags.genres(str(path)) == ['Folk']
  assert audio_tags.read(str(path)) == ('Ann', 'Song')


def _attributes(path):
  found = os.stat(path)
  times = found.st_atime_ns, found.st_mtime_ns
  try:
    extended = os.getxattr(path, 'user.rating')
  except OSError:
    extended = None
  return found.st_uid, found.st_gid, oct(found.st_mode), times, extended


def _with_attributes(path):
  """Sets attributes that a new file would not have, as far as permitted."""
  if not os.geteuid():
    os.chown(path, 4321, 5432)
  with contextlib.suppress(OSError):  # not supported by all file systems
    os.setxattr(path, 'user.rating', b'5')
  path.chmod(0o640)
  os.utime(path, ns=(10**18 + 1, 10**18 + 3))
  return _attributes(path)


@pytest.mark.parametrize('ending', ['mp3', 'flac', 'wav'])
def test_tagged_file_keeps_its_attributes(ending, tmp_path):
  path = write_tone(tmp_path / f'a.{ending}', rate_hz=22050)
  before, found = _with_attributes(path), path.stat()
  tags.write(str(path), tags.Field(('rock',)), before=found)
  assert audio_tags.genre(str(path)) == 'rock'  # read after the attributes
  os.utime(path, ns=(found.st_atime_ns, path.stat().st_mtime_ns))
  assert _attributes(path) == before


def test_access_time_from_before_reading_is_kept(tmp_path):
  path = write_tone(tmp_path / 'a.flac')
  _with_attributes(path)
  found = path.stat()
  path.read_bytes()
  os.utime(path, ns=(10**18 + 10**15, found.st_mtime_ns))  # like reading
  tags.write(str(path), tags.Field(('rock',)), before=found)
  assert path.stat().st_atime_ns == 10**18 + 1


def test_copy_keeps_attributes(tmp_path):
  path = write_tone(tmp_path / 'a.wav')
  before = _with_attributes(path)
  placing.copy(str(path), str(tmp_path / 'to' / 'a.wav'))
  assert _attributes(tmp_path / 'to' / 'a.wav') == before


@pytest.mark.parametrize('name', ['chown', 'utime', 'chmod', 'setxattr'])
def test_attributes_that_cannot_be_set_are_ignored(name, tmp_path, monkeypatch):
  path = write_tone(tmp_path / 'a.flac')
  _with_attributes(path)

  def refuse(*args, **kwargs):
    raise PermissionError(1, 'Operation not permitted')

  monkeypatch.setattr(os, name, refuse)
  tags.write(str(path), tags.Field(('rock',)))
  placing.copy(str(path), str(tmp_path / 'b.flac'))
  for one in (path, tmp_path / 'b.flac'):
    assert audio_tags.genre(str(one)) == 'rock'
  assert {x.name for x in tmp_path.iterdir()} == {'a.flac', 'b.flac'}


def test_artist_of_a_damaged_file_is_empty(tmp_path):
  path = tmp_path / 'a.mp3'
  path.write_bytes(os.urandom(1000))
  assert audio_tags.read(str(path)) == ('', '')
