import io
import os
import struct
import tarfile
import zipfile

import pytest

from mgc_jax.datasets.published.archives import unpack, unpacked
from mgc_jax.system.errors import DataError


def _zip(path, files, **options):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    for name, data in files.items():
      file.writestr(name, data, **options)
  return path


def _tar(path, *infos):
  with tarfile.open(path, 'w:gz') as file:
    for info in infos:
      data = io.BytesIO(b'x' * info.size) if info.isreg() else None
      file.addfile(info, data)
  return path


def _info(name, kind=tarfile.REGTYPE, size=0, target=''):
  info = tarfile.TarInfo(name)
  info.type, info.size, info.linkname = kind, size, target
  return info


def _check_raises(archive, tmp_path, match):
  before = set(tmp_path.rglob('*'))
  with pytest.raises(DataError, match=match) as raised:
    unpack(archive, tmp_path / 'out')
  assert str(archive) in str(raised.value) or 'out' in str(raised.value)
  assert set(tmp_path.rglob('*')) == before  # nothing is added or removed


def test_zip_and_tar_give_the_same_files(tmp_path):
  content = os.urandom(5000)
  zipped = _zip(tmp_path / 'a.zip', {'fma/000/2.mp3': content, 'fma/b.txt': ''})
  tarred = tmp_path / 'a.tar.gz'
  (tmp_path / 'fma' / '000').mkdir(parents=True)
  (tmp_path / 'fma' / '000' / '2.mp3').write_bytes(content)
  (tmp_path / 'fma' / 'b.txt').touch()
  with tarfile.open(tarred, 'w:gz') as file:
    file.add(tmp_path / 'fma', 'fma')
  for archive in (zipped, tarred):
    folder = unpacked(archive)
    assert folder.name == f'{archive.name}.unpacked'
    assert (folder / 'fma' / '000' / '2.mp3').read_bytes() == content
    assert (folder / 'fma' / 'b.txt').read_bytes() == b''
    assert unpacked(folder) == folder


def test_unpacked_folder_is_reused(tmp_path):
  archive = _zip(tmp_path / 'a.zip', {'a': 'new'})
  folder = unpacked(archive)
  (folder / 'a').write_text('kept')
  assert (unpacked(archive) / 'a').read_text() == 'kept'


def test_zip64_is_read(tmp_path):
  path = tmp_path / 'a.zip'
  with zipfile.ZipFile(path, 'w') as file:
    with file.open('big', 'w', force_zip64=True) as member:
      member.write(b'zip64')
  unpack(path, tmp_path / 'out')
  assert (tmp_path / 'out' / 'big').read_bytes() == b'zip64'


@pytest.mark.parametrize(
  'name',
  ['../out.txt', '/etc/x', 'a/../../b', 'a\\..\\..\\b', 'C:/x', 'a\nb', '..'],
)
def test_names_outside_the_folder_raise(name, tmp_path):
  archive = _zip(tmp_path / 'a.zip', {'fine': 'x', name: 'x'})
  _check_raises(archive, tmp_path, 'not a valid name')
  archive = _tar(tmp_path / 'a.tar.gz', _info('fine'), _info(name, size=3))
  _check_raises(archive, tmp_path, 'not a valid name')


@pytest.mark.parametrize(
  'kind',
  [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_raise(kind, tmp_path):
  info = _info('a', kind, target='/etc/passwd')
  archive = _tar(tmp_path / 'a.tar.gz', _info('fine', size=1), info)
  _check_raises(archive, tmp_path, ': a: a link or a device')


def test_link_in_a_zip_raises(tmp_path):
  info = zipfile.ZipInfo('a')
  info.external_attr = 0o120777 << 16
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
    file.writestr(info, '/etc/passwd')
  _check_raises(tmp_path / 'a.zip', tmp_path, ': a: a link or a device')


def test_zip_bomb_is_not_unpacked(tmp_path):
  archive = _zip(tmp_path / 'a.zip', {'zeros': bytes(200 << 20)})
  assert archive.stat().st_size < 1 << 20
  _check_raises(archive, tmp_path, 'not unpacked, as it has over')


def test_many_small_bombs_are_not_unpacked(tmp_path):
  files = {f'zeros{i}': bytes(1 << 19) for i in range(200)}
  _check_raises(
    _zip(tmp_path / 'a.zip', files), tmp_path, 'not unpacked, as it has over'
  )


def test_wrong_size_in_a_header_raises(tmp_path):
  archive = _zip(tmp_path / 'a.zip', {'zeros': bytes(50 << 20)})
  data = bytearray(archive.read_bytes())
  # The uncompressed sizes in the member's header and in the directory.
  for signature, offset in ((b'PK\x03\x04', 22), (b'PK\x01\x02', 24)):
    place = data.index(signature) + offset
    data[place : place + 4] = struct.pack('<I', 10)
  archive.write_bytes(data)
  _check_raises(archive, tmp_path, 'damaged|more bytes')


def test_duplicate_member_raises(tmp_path):
  with pytest.warns(UserWarning, match='Duplicate'):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
      file.writestr('a', '1')
      file.writestr('a', '2')
  _check_raises(tmp_path / 'a.zip', tmp_path, ': a: a duplicate')


@pytest.mark.parametrize('ending', ['.zip', '.tar.gz'])
def test_truncated_and_changed_archives_leave_nothing(ending, tmp_path):
  content = {f'f{i}': os.urandom(3000) for i in range(5)}
  archive = tmp_path / f'a{ending}'
  if ending == '.zip':
    _zip(archive, content)
  else:
    _tar(archive, *(_info(name, size=3000) for name in content))
  data = archive.read_bytes()
  archive.write_bytes(data[: len(data) // 2])
  _check_raises(archive, tmp_path, 'damaged|cannot be unpacked')
  changed = bytearray(data)
  changed[len(data) // 2] ^= 0xFF
  archive.write_bytes(changed)
  _check_raises(
    archive, tmp_path, 'damaged|cannot be unpacked|not a valid name|link'
  )


def test_neither_folder_nor_archive_raises(tmp_path):
  with pytest.raises(DataError, match='neither a folder nor an archive'):
    unpacked(tmp_path / 'none.zip')
