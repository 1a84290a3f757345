"""Writes a picture that is whole or absent, and that never stops the work."""

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
  """Turns a failure to draw a picture into a warning that names it.

  Import matplotlib inside, too: the import may fail.

  Args:
    path: of the picture.
    requested: whether a person asked for this very file. That it cannot be
      written is then an error.

  Raises:
    OSError: the picture was requested and cannot be written.
  """
  try:
    yield
  # A picture only shows what the results say already. What drawing raises can
  # be of any kind: a broken installation, a font, a bug in a layout.
  except Exception as error:
    if requested and isinstance(error, OSError):
      raise
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())
    _logger.warning('%s: not drawn: %s', path, reason[:_MAX_REASON])


def save(figure: 'Figure', path: pathlib.Path) -> None:
  """Writes a PNG.

  Every text is shown as it is: in the name of a genre or a file `$` does not
  begin a formula. A character that no font has becomes a box.

  Args:
    figure: to be laid out and drawn.
    path: of the file; its folder exists.

  Raises:
    OSError: it cannot be written.
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
  # Labels of ticks are made while the figure is drawn.
  with (
    matplotlib.rc_context({'text.parse_math': False}),
    warnings.catch_warnings(),
  ):
    warnings.filterwarnings('ignore', r'Glyph .* missing')
    yield
