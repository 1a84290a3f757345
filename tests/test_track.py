import pytest

from mgc_jax.datasets.track import Track, read_manifest
from mgc_jax.errors import DataError

HEADER = 'path,track_id,genre,artist,split\n'


def _write(tmp_path, text, encoding='utf-8'):
  path = tmp_path / 'm.csv'
  path.write_bytes(text.encode(encoding))
  return path


def test_reads_all_columns(tmp_path):
  text = HEADER + 'a/1.wav,t1,jazz,Ann,train\n"b, c.wav",t2,rock,,\n'
  one, two = read_manifest(_write(tmp_path, text), tmp_path)
  assert one == Track(
    't1', str(tmp_path / 'a' / '1.wav'), 'jazz', artist='Ann', split='train'
  )
  assert two.path.endswith('b, c.wav') and two.artist == two.split == ''


def test_byte_order_mark_and_crlf_are_understood(tmp_path):
  path = _write(tmp_path, HEADER.strip() + '\r\na,t,jazz,,\r\n', 'utf-8-sig')
  assert read_manifest(path, tmp_path)[0].genre == 'jazz'


def test_missing_manifest_and_missing_root(tmp_path):
  with pytest.raises(DataError, match='No such file'):
    read_manifest(tmp_path / 'none.csv', tmp_path)
  with pytest.raises(DataError, match='set --config.data.root'):
    read_manifest(_write(tmp_path, HEADER), tmp_path / 'none')
