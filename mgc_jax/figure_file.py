"""Writes a picture that is whole or absent."""

import pathlib
from typing import TYPE_CHECKING

from mgc_jax import whole_file

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
  with whole_file.writing(path) as partial:
    figure.tight_layout()
    figure.savefig(partial, dpi=110, format='png')
