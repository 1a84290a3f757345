"""Formats tables for the terminal and for Markdown."""

from typing import Any


def table(
  header: list[str], rows: list[list[Any]], gap: str = '  '
) -> list[str]:
  """Returns the lines of a table: first column left-, others right-aligned.

  Args:
    header: the title of each column.
    rows: one cell per column, converted with `str`.
    gap: the text between two columns.
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
  """Returns a Markdown table with aligned columns.

  Args:
    header: the title of each column.
    rows: one cell per column, converted with `str`.
  """
  lines = table(header, rows, ' | ')
  rule = '-|-'.join('-' * len(part) for part in lines[0].split(' | '))
  return '\n'.join(f'| {line} |' for line in (lines[0], rule, *lines[1:]))
