"""Manifests in the forms that users and spreadsheets write."""

import os
import unicodedata

import pytest

from mgc_jax.datasets.csv_table import read_rows
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import DataError

HEADER = 'path,track_id,genre,artist,split\n'
NFC = unicodedata.normalize('NFC', 'Café')
NFD = unicodedata.normalize('NFD', 'Café')


def _write(tmp_path, text, encoding='utf-8'):
  path = tmp_path / 'm.csv'
  path.write_bytes(text.encode(encoding))
  return path


def _touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b'')
  return path


def _paths(tmp_path, *cells):
  """Returns the paths of tracks, relative to the root `tmp_path`."""
  rows = ''.join(f'"{cell}",t{i},jazz\n' for i, cell in enumerate(cells))
  path = _write(tmp_path, f'path,track_id,genre\n{rows}')
  tracks = read_manifest(path, tmp_path)
  return [os.path.relpath(track.path, tmp_path) for track in tracks]


def test_reads_all_columns(tmp_path):
  text = HEADER + 'a/1.wav,t1,jazz,Ann,train\n"b, c.wav",t2,rock,,\n'
  one, two = read_manifest(_write(tmp_path, text), tmp_path)
  assert one == Track(
    't1', str(tmp_path / 'a' / '1.wav'), 'jazz', artist='Ann', split='train'
  )
  assert two.path.endswith('b, c.wav') and two.artist == two.split == ''


def test_missing_manifest_and_missing_root_raise(tmp_path):
  with pytest.raises(DataError, match='No such file'):
    read_manifest(tmp_path / 'none.csv', tmp_path)
  with pytest.raises(DataError, match='set --config.data.root'):
    read_manifest(_write(tmp_path, HEADER), tmp_path / 'none')


# --- tables


@pytest.mark.parametrize('delimiter', [',', ';', '\t'])
@pytest.mark.parametrize('line_end', ['\n', '\r\n', '\r'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'cp1252'])
def test_delimiters_line_ends_and_encodings_are_recognised(
  tmp_path, delimiter, line_end, encoding
):
  rows = [
    ('path', 'track_id', 'genre', 'artist'),
    ('a.wav', '1', 'jazz', 'Beyoncé'),
    ('"b, c; d.wav"', '2', 'rock', ''),
  ]
  text = ''.join(delimiter.join(row) + line_end for row in rows)
  one, two = read_manifest(_write(tmp_path, text, encoding), tmp_path)
  assert (one.track_id, one.genre, one.artist) == ('1', 'jazz', 'beyoncé')
  assert two.path == str(tmp_path / 'b, c; d.wav')


def test_big_endian_utf_16_is_read(tmp_path):
  text = '\ufeff' + HEADER + 'a,t,Größe,,\n'
  (track,) = read_manifest(_write(tmp_path, text, 'utf-16-be'), tmp_path)
  assert track.genre == 'Größe'


def test_reading_as_windows_1252_warns(tmp_path, caplog):
  path = _write(tmp_path, HEADER + 'a,t,Café,,\n', 'cp1252')
  assert read_manifest(path, tmp_path)[0].genre == 'Café'
  assert f'{path}: not UTF-8, so it is read as Windows-1252' in caplog.text
  caplog.clear()
  read_manifest(_write(tmp_path, HEADER + 'a,t,Café,,\n'), tmp_path)
  assert not caplog.text


def test_late_character_determines_the_encoding(tmp_path):
  rows = ''.join(f'{i},{i},jazz,,\n' for i in range(9000))
  path = _write(tmp_path, HEADER + rows + 'x,x,Café,,\n', 'cp1252')
  assert read_manifest(path, tmp_path)[-1].genre == 'Café'


@pytest.mark.parametrize('padding', ['', 'x'])
def test_two_byte_characters_may_cross_blocks(tmp_path, padding):
  """The file is read in blocks to detect its encoding."""
  rows = ''.join(f'{padding},{"é" * 40_000},\n' for _ in range(3))
  path = _write(tmp_path, f'a{padding},b,c\n{rows}')
  assert [row['b'] for _, row in read_rows(path, ['b'])] == ['é' * 40_000] * 3


def test_bytes_that_are_not_text_raise(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_bytes(HEADER.encode() + b'\x81\x8d,t,jazz,,\n')
  with pytest.raises(DataError, match='not text in UTF-8, UTF-16 or Windows'):
    read_manifest(path, tmp_path)


@pytest.mark.parametrize(
  'header',
  [
    'Path,Track_ID,GENRE,Artist,Split',
    ' path , track_id , genre , artist , split ',
    'path, "track_id",\t"Genre",artist,split',
    '"path","track_id","genre","artist","split"',
  ],
)
def test_column_names_may_have_any_case_and_spaces(tmp_path, header):
  path = _write(tmp_path, f'\ufeff{header}\na,t,jazz,Ann,test\n')
  (track,) = read_manifest(path, tmp_path)
  assert (track.genre, track.artist, track.split) == ('jazz', 'ann', 'test')


def test_cells_are_stripped(tmp_path):
  text = HEADER + ' a.wav\t, t1,\xa0jazz , "Ann, B",train\n'
  (track,) = read_manifest(_write(tmp_path, text), tmp_path)
  assert track == Track(
    't1', str(tmp_path / 'a.wav'), 'jazz', artist='Ann, B', split='train'
  )


def test_empty_rows_are_skipped_but_counted(tmp_path):
  text = HEADER + ',,,,\n\n , ,,,\na,t1,jazz,,\n,,,,\n'
  path = _write(tmp_path, text)
  assert len(read_manifest(path, tmp_path)) == 1
  with pytest.raises(DataError, match='line 8: genre is empty'):
    read_manifest(_write(tmp_path, text + '\nb,t2,,,\n'), tmp_path)


def test_short_rows_and_unnamed_columns_are_accepted(tmp_path):
  """Spreadsheets pad every line with commas to the longest one."""
  text = 'path,track_id,genre,,\na,t1,jazz\nb,t2,rock,note,,,\n'
  one, two = read_manifest(_write(tmp_path, text), tmp_path)
  assert (one.genre, two.genre) == ('jazz', 'rock')
  with pytest.raises(DataError, match='line 2: more cells than columns'):
    read_manifest(_write(tmp_path, HEADER + 'a,t,jazz,,,x\n'), tmp_path)


def test_duplicate_column_raises(tmp_path):
  text = 'path,track_id,genre,Genre \na,t1,jazz,rock\n'
  with pytest.raises(
    DataError, match='line 1: more than one column is called genre;'
  ):
    read_manifest(_write(tmp_path, text), tmp_path)


def test_durations_may_have_a_decimal_comma(tmp_path):
  text = 'path;track_id;genre;duration_s\na;t1;jazz;3,5\nb;t2;jazz;2.5\n'
  tracks = read_manifest(_write(tmp_path, text), tmp_path)
  assert [track.duration_s for track in tracks] == [3.5, 2.5]
  text = text.replace('3,5', 'long')
  with pytest.raises(DataError, match='line 2: duration_s long: not a number'):
    read_manifest(_write(tmp_path, text), tmp_path)


def test_rows_of_another_table_keep_their_line_numbers(tmp_path):
  path = _write(tmp_path, 'A;b\n1;2;3\n;\n4\n')
  assert read_rows(path, ['a']) == [
    (2, {'a': '1', 'b': '2', '': '3'}),
    (4, {'a': '4', 'b': ''}),
  ]


# --- genres


def test_genres_get_the_known_spelling(tmp_path):
  text = HEADER + f'a,t1,{NFD} ,,\nb,t2,CAFÉ,,\nc,t3,rock,,\n'
  path = _write(tmp_path, text)
  tracks = read_manifest(path, tmp_path, (NFC, 'Rock'))
  assert [track.genre for track in tracks] == [NFC, NFC, 'Rock']
  with pytest.raises(DataError, match='line 4: unknown genre rock; known: Caf'):
    read_manifest(path, tmp_path, (NFC, 'jazz'))


# --- paths


def test_backslashes_separate_folders(tmp_path):
  _touch(tmp_path / 'jazz' / 'a' / '0.wav')
  assert _paths(tmp_path, r'jazz\a\0.wav', r'jazz\gone.wav') == [
    'jazz/a/0.wav',
    'jazz/gone.wav',
  ]


def test_literal_backslash_takes_precedence(tmp_path):
  _touch(tmp_path / 'jazz' / '0.wav')
  _touch(tmp_path / 'jazz\\0.wav')
  assert _paths(tmp_path, r'jazz\0.wav') == ['jazz\\0.wav']


@pytest.mark.parametrize(
  'folder', ['C:\\Music\\', 'd:/Users/Ann/', '\\\\nas\\music\\', '\\Music\\']
)
def test_absolute_windows_paths_are_found_under_the_root(tmp_path, folder):
  for genre in ('jazz', 'rock'):
    _touch(tmp_path / genre / '0.wav')
  cells = [f'{folder}jazz\\0.wav', f'{folder}rock\\0.wav']
  assert _paths(tmp_path, *cells) == ['jazz/0.wav', 'rock/0.wav']


def test_longest_suffix_of_an_absolute_path_is_used(tmp_path):
  for name in ('0.wav', 'jazz/0.wav', 'Music/jazz/0.wav'):
    _touch(tmp_path / name)
  assert _paths(tmp_path, r'C:\Music\jazz\0.wav') == ['Music/jazz/0.wav']


def test_missing_absolute_windows_path_raises(tmp_path):
  with pytest.raises(
    DataError, match=r'line 2: path C:.*0.wav: an absolute Windows path'
  ):
    _paths(tmp_path, r'C:\Music\jazz\0.wav')


@pytest.mark.parametrize(
  'cell',
  [
    r'..\secret.wav',
    r'jazz\..\..\secret.wav',
    r'C:\..\secret.wav',
    r'C:\Music\..\..\secret.wav',
    r'/secret\x',
    r'link\secret.wav',
    r'D:\link\secret.wav',
  ],
)
def test_windows_path_out_of_the_root_raises(tmp_path, cell):
  _touch(tmp_path / 'secret.wav')
  root = tmp_path / 'root'
  root.mkdir()
  (root / 'link').symlink_to(tmp_path)
  with pytest.raises(DataError, match='is outside|absolute Windows path'):
    _paths(root, cell)


@pytest.mark.parametrize(('on_disk', 'listed'), [(NFC, NFD), (NFD, NFC)])
def test_path_in_another_unicode_form_is_found(tmp_path, on_disk, listed):
  file = _touch(tmp_path / on_disk / 'sub' / f'{on_disk}.wav')
  (found,) = _paths(tmp_path, f'{listed}/sub/{listed}.wav')
  assert (tmp_path / found).samefile(file)
  (found,) = _paths(tmp_path, f'{listed}\\sub\\{listed}.wav')
  assert (tmp_path / found).samefile(file)


def test_two_unicode_forms_are_two_files(tmp_path):
  for name in (NFC, NFD):
    _touch(tmp_path / f'{name}.wav')
  if len(os.listdir(tmp_path)) < 2:
    pytest.skip('this file system treats both forms as one name')
  assert _paths(tmp_path, f'{NFD}.wav', f'{NFC}.wav') == [
    f'{NFD}.wav',
    f'{NFC}.wav',
  ]


def test_missing_path_keeps_its_unicode_form(tmp_path):
  (tmp_path / 'jazz').mkdir()
  assert _paths(tmp_path, f'jazz/{NFD}.wav') == [f'jazz/{NFD}.wav']


def test_path_in_another_unicode_form_out_of_the_root_raises(tmp_path):
  _touch(tmp_path / 'secret.wav')
  root = tmp_path / 'root'
  root.mkdir()
  (root / NFD).symlink_to(tmp_path)
  with pytest.raises(DataError, match='is outside'):
    _paths(root, f'{NFC}/secret.wav')


def test_file_under_two_names_raises(tmp_path):
  _touch(tmp_path / 'jazz' / f'{NFC}.wav')
  with pytest.raises(DataError, match='line 3: path .* already in line 2'):
    _paths(tmp_path, f'jazz/{NFC}.wav', f'jazz\\{NFD}.wav')


def test_remote_paths_may_have_backslashes(tmp_path):
  path = _write(tmp_path, 'path,track_id,genre\njazz\\0.wav,t,jazz\n')
  (track,) = read_manifest(path, 'gs://b/music')
  assert track.path == 'gs://b/music/jazz/0.wav'
  for cell in (r'..\0.wav', r'C:\0.wav', r'\0.wav'):
    path = _write(tmp_path, f'path,track_id,genre\n{cell},t,jazz\n')
    with pytest.raises(DataError, match='is outside gs://b/music'):
      read_manifest(path, 'gs://b/music')
