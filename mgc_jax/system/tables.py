"""Lays out tables, for a terminal and for Markdown."""

from typing import Any


def table(
  header: list[str], rows: list[list[Any]], gap: str = '  '
) -> list[str]:
  """Returns lines of aligned columns, the first column to the left.

  Args:
    header: titles of the columns.
    rows: cells, as many per row as there are titles; `str` makes them text.
    gap: what stands between two columns.
  """
  cells = [[str(cell) for cell in row] for row in [header, *rows]]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return [
    gap.join(
      cell.ljust(width) if i == 0 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in cells
  ]


def markdown_table(header: list[str], rows: list[list[Any]]) -> str:
  """Returns a Markdown table of aligned columns.

  Args:
    header: titles of the columns.
    rows: cells, as many per row as there are titles; `str` makes them text.
  """
  lines = table(header, rows, ' | ')
  rule = '-|-'.join('-' * len(part) for part in lines[0].split(' | '))
  return '\n'.join(f'| {line} |' for line in (lines[0], rule, *lines[1:]))
