"""Writes figures atomically, without stopping a command if that fails."""

import contextlib
import logging
import pathlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mgc_jax.system import atomic_file

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_logger = logging.getLogger(__name__)
_MAX_REASON = 200  # characters


@contextlib.contextmanager
def never_stopping(
  path: pathlib.Path, requested: bool = False
) -> Iterator[None]:
  """Turns a failure to draw a figure into a warning that names its file.

  Import matplotlib inside this context too, because the import may fail.

  Args:
    path: the file of the figure.
    requested: whether the user asked for this file. Failing to write it is
      then an error.

  Raises:
    OSError: the figure was requested and cannot be written.
  """
  try:
    yield
  # A figure only shows what the results already say, and drawing can raise
  # anything: a broken installation, a missing font, a bug in the layout.
  except Exception as error:
    if requested and isinstance(error, OSError):
      raise
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())
    _logger.warning('%s: not drawn: %s', path, reason[:_MAX_REASON])


def save(figure: 'Figure', path: pathlib.Path) -> None:
  """Writes a figure as a PNG.

  All text is shown literally: `$` in the name of a genre or a file does not
  start a formula. A character that no font has becomes a box.

  Args:
    figure: the figure to lay out and draw.
    path: the file to write; its folder must exist.

  Raises:
    OSError: the file cannot be written.
  """
  with atomic_file.writing(path) as partial, _as_plain_text(figure):
    figure.tight_layout()
    figure.savefig(partial, dpi=110, format='png')


@contextlib.contextmanager
def _as_plain_text(figure: 'Figure') -> Iterator[None]:
  import matplotlib
  from matplotlib.text import Text

  for text in figure.findobj(Text):
    text.set_parse_math(False)
  # Tick labels are created while the figure is drawn.
  with (
    matplotlib.rc_context({'text.parse_math': False}),
    warnings.catch_warnings(),
  ):
    warnings.filterwarnings('ignore', r'Glyph .* missing')
    yield
