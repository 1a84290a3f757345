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


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('path,genre\na,jazz\n', 'line 1: no column track_id'),
    ('', 'line 1: no column path, track_id, genre'),
    (HEADER, 'lists no track'),
    (HEADER + 'a,t1,polka,,\n', 'line 2: unknown genre polka; known: jazz'),
    (HEADER + 'a,t1,,,\n', 'line 2: genre is empty'),
    (HEADER + 'a,t1,jazz,,\nb,t1,jazz,,\n', 'line 3: track_id t1 .* line 2'),
    (
      HEADER + 'a,t1,jazz,,\na,t2,rock,,\n',
      'line 3: path .*/a stands in line 2 already, as jazz',
    ),
    (HEADER + 'a,t1,jazz,,\n./b/../a,t2,rock,,\n', 'line 3: path .*/a stands'),
    (HEADER + 'a,"t\n1",jazz,,\n', 'track_id .* holds control characters'),
    (HEADER + 'a,t1\0,jazz,,\n', 'line'),
    (HEADER + '../x,t1,jazz,,\n', 'line 2: path ../x leads out of'),
    (HEADER + '/etc/passwd,t1,jazz,,\n', 'line 2: path /etc/passwd leads out'),
    (HEADER + 'a,t1,jazz,,dev\n', 'line 2: split dev: must be train'),
    (HEADER + 'a,t1,jazz,,train,9\n', 'line 2: more cells than columns'),
    (HEADER + '"a,t1,jazz,,train\n', 'line 1: unexpected end'),
  ],
)
def test_broken_manifest_names_the_line(tmp_path, text, message):
  with pytest.raises(DataError, match=f'm.csv.*{message}'):
    read_manifest(_write(tmp_path, text), tmp_path, ('jazz', 'rock'))


def test_a_loop_of_links_is_named(tmp_path):
  (tmp_path / 'a').symlink_to(tmp_path / 'b')
  (tmp_path / 'b').symlink_to(tmp_path / 'a')
  with pytest.raises(DataError, match='line 2'):
    read_manifest(_write(tmp_path, HEADER + 'a,t1,jazz,,\n'), tmp_path)


def test_manifest_that_is_not_text(tmp_path):
  with pytest.raises(DataError, match='m.csv: not UTF-8'):
    read_manifest(_write(tmp_path, 'pathé', 'latin-1'), tmp_path)


def test_missing_manifest_and_missing_root(tmp_path):
  with pytest.raises(DataError, match='No such file'):
    read_manifest(tmp_path / 'none.csv', tmp_path)
  with pytest.raises(DataError, match='set --config.data.root'):
    read_manifest(_write(tmp_path, HEADER), tmp_path / 'none')
