"""Reads CSV tables in the dialects and encodings of spreadsheets."""

import codecs
import collections
import csv
import itertools
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import TextIO

from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)

_DELIMITERS = ',;\t'
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLOCK_BYTES = 1 << 16
_MAX_LINE_CHARACTERS = 1 << 20  # a longer line could exhaust memory


def read_rows(
  path: pathlib.Path, required: Sequence[str]
) -> list[tuple[int, dict[str, str]]]:
  """Returns the line number and the cells of each row of a CSV.

  Args:
    path: a CSV with a header, which determines whether commas, semicolons or
      tabs separate the columns. Column names may be in any case. The encoding
      is UTF-8, UTF-16 with a byte-order mark, or Windows-1252.
    required: columns that the table must have.

  Returns:
    The rows that are not empty. Column names are in lower case, and cells are
    stripped of white space. Surplus cells of a row are under the name ''.

  Raises:
    DataError: names the file, the line and what is wrong with it.
  """
  try:
    with path.open(newline='', encoding=_encoding(path)) as file:
      return list(_rows(file, path, required))
  except OSError as error:
    raise DataError(f'{path}: {error.strerror}') from error
  except UnicodeDecodeError as error:
    raise DataError(
      f'{path}: not text in UTF-8, UTF-16 or Windows-1252 ({error.reason}); '
      'save the table as "CSV UTF-8"'
    ) from error


def _encoding(path: pathlib.Path) -> str:
  """Detects the encoding of a file, for which it is read once."""
  if path.exists() and not path.is_file():
    raise DataError(f'{path}: not a file')
  decoder = codecs.getincrementaldecoder('utf-8')()
  with path.open('rb') as file:
    if file.read(2) in _UTF16_MARKS:
      return 'utf-16'
    file.seek(0)
    try:
      while block := file.read(_BLOCK_BYTES):
        decoder.decode(block)
      decoder.decode(b'', final=True)
    except UnicodeDecodeError:
      _logger.warning(
        '%s: not UTF-8, so it is read as Windows-1252; if names with accents '
        'look wrong, save the table as "CSV UTF-8"',
        path,
      )
      return 'cp1252'
  return 'utf-8-sig'


def _lines(file: TextIO, path: pathlib.Path) -> Iterator[str]:
  """Yields a file's lines; raises a `DataError` if one is too long."""
  for number in itertools.count(1):
    line = file.readline(_MAX_LINE_CHARACTERS)
    if not line:
      return
    if len(line) == _MAX_LINE_CHARACTERS and line[-1] not in '\r\n':
      raise DataError(
        f'{path}, line {number}: longer than {_MAX_LINE_CHARACTERS} characters'
      )
    yield line


def _rows(
  file: TextIO, path: pathlib.Path, required: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields the rows that `read_rows` returns."""
  lines = _lines(file, path)
  header = next(lines, '')
  reader = csv.reader(
    itertools.chain([header], lines),
    delimiter=_delimiter(header, required),
    skipinitialspace=True,
    strict=True,
  )
  try:
    columns = _columns(next(reader, []), required, path)
    for cells in reader:
      cells = [cell.strip() for cell in cells]
      if any(cells):
        yield reader.line_num, _named(cells, columns)
  except csv.Error as error:
    raise DataError(f'{path}, line {reader.line_num}: {error}') from error


def _delimiter(header: str, required: Sequence[str]) -> str:
  """Returns the delimiter with which most required columns are found."""

  def num_found(delimiter: str) -> int:
    try:
      cells = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:  # a cell is too long
      return 0
    return len(set(required) & set(map(_column, cells)))

  return max(_DELIMITERS, key=num_found)


def _column(cell: str) -> str:
  return cell.strip().strip('"').strip().casefold()


def _columns(
  header: list[str], required: Sequence[str], path: pathlib.Path
) -> list[str]:
  """Returns the checked column names."""
  columns = list(map(_column, header))
  missing = [name for name in required if name not in columns]
  if missing:
    raise DataError(
      f'{path}, line 1: no column {", ".join(missing)}; required: '
      + ', '.join(required)
    )
  counts = collections.Counter(filter(None, columns))
  repeated = [printable(name) for name, count in counts.items() if count > 1]
  if repeated:
    raise DataError(
      f'{path}, line 1: more than one column is called {", ".join(repeated)}; '
      'rename or delete the others'
    )
  return columns


def _named(cells: list[str], columns: list[str]) -> dict[str, str]:
  """Returns the cells by column name, as described for `read_rows`."""
  row = dict(
    itertools.zip_longest(columns, cells[: len(columns)], fillvalue='')
  )
  row.pop('', None)  # a column without a name
  if any(cells[len(columns) :]):
    row[''] = ' '.join(cells[len(columns) :])
  return row
