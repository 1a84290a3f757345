"""The answer as HTML: genre, timeline, similar songs, or what is wrong.

Nothing of the server is in it: files are named by their last part.
"""

import base64
import html as escaping
import io
import os
import pathlib

from mgc_jax.collection import similar
from mgc_jax.collection.entry import Answered
from mgc_jax.collection.index import Index
from mgc_jax.inference.classifier import Classifier, DecodedExcerpts, Prediction
from mgc_jax.inference.timeline import draw_bare, genre_colors
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

_NUM_TOP = 3
_NUM_SIMILAR = 5


def html(
  model: Classifier,
  path: str,
  index_path: pathlib.Path,
  max_duration_s: float,
) -> str:
  """Returns what the page shows of an upload.

  Args:
    model: that answers.
    path: of the file.
    index_path: of a collection; it need not exist.
    max_duration_s: a longer song is refused.
  """
  try:
    decoded = _decoded(model, path, max_duration_s)
    answer = model.answer(path, decoded)
  except DataError as error:
    return (
      f'<div class="mgc-problem" role="alert">{_name(path)}: '
      f'{_text(str(error))}</div>'
    )
  picture = io.BytesIO()
  draw_bare(answer, decoded.excerpts, picture)
  data = base64.b64encode(picture.getvalue()).decode()
  parts = [
    f'<div aria-live="polite"><h2>{_headline(answer)}</h2>',
    f'<p>{_text(answer.warning)}</p>' if answer.warning else '',
    f'<div class="mgc-picture"><img src="data:image/png;base64,{data}" '
    'alt="Spectrogram, and the probability of each genre over time">'
    '<div class="mgc-cursor"></div></div>',
    _key(answer),
    _similar(model, answer, index_path),
    '</div>',
  ]
  return ''.join(parts)


def _decoded(
  model: Classifier, path: str, max_duration_s: float
) -> DecodedExcerpts:
  """Decodes a file, and stops where it is too long; headers may be wrong."""
  excerpts, found = model.excerpts(path), []
  for excerpt in excerpts:
    if excerpt.start_s + excerpt.duration_s > max_duration_s:
      raise DataError(f'too long: over {max_duration_s / 60:g} minutes')
    found.append(excerpt)
  return DecodedExcerpts(tuple(found), excerpts.duration_s, excerpts.warning)


def _text(text: str) -> str:
  return escaping.escape(printable(text))


def _name(path: str) -> str:
  return _text(os.path.basename(path))


def _headline(answer: Prediction) -> str:
  ranked = [f'{_text(g)} {p:.0%}' for g, p in answer.top[:_NUM_TOP]]
  if answer.uncertain:
    return f'Uncertain: {", ".join(ranked)}'
  return f'{ranked[0]} <small>({", ".join(ranked[1:])})</small>'


def _key(answer: Prediction) -> str:
  """Says which colour is which genre."""
  keys = [
    f'<span class="mgc-key"><i style="background:{color}"></i>'
    f'{_text(name)}</span>'
    for name, color in genre_colors(answer)
  ]
  return f'<p>{"".join(keys)}</p>'


def _similar(
  model: Classifier, answer: Prediction, index_path: pathlib.Path
) -> str:
  """Lists similar songs, where there is an index of the same model."""
  try:
    with Index(index_path) as index:
      known = index.model()
      if not known or known[1] != model.digest:
        return ''
      found = similar.others(index, answer.embedding, _NUM_SIMILAR)
  except (ConfigError, DataError):  # none, or it is damaged: a page without
    return ''
  rows = [
    f'<li>{_song(one.entry)} <small>({_text(one.entry.genre)})</small></li>'
    for one in found
  ]
  return f'<h3>Similar songs</h3><ol>{"".join(rows)}</ol>' if rows else ''


def _song(entry: Answered) -> str:
  named = ' - '.join(filter(None, [entry.artist, entry.title]))
  return _text(named) if named else _name(entry.path)
