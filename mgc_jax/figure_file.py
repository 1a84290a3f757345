"""Writes a picture that is whole or absent."""

import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def save(figure: 'Figure', path: pathlib.Path) -> None:
  """Writes a PNG.

  Args:
    figure: to be laid out and drawn.
    path: of the file; its folder exists.

  Raises:
    OSError: it cannot be written.
  """
  partial = path.with_name(f'{path.name}.partial')
  try:
    figure.tight_layout()
    figure.savefig(partial, dpi=110, format='png')
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)
