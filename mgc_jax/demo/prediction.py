"""Formats a prediction as HTML: genre, timeline, similar songs, or an error.

Files are shown without their folders, so that the page reveals no paths.
"""

import base64
import html as escaping
import io
import os
import pathlib

from mgc_jax.collection import similar
from mgc_jax.collection.entry import ClassifiedEntry
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
  """Classifies an uploaded file and returns the HTML to show.

  Args:
    model: classifies the file.
    path: the uploaded file.
    index_path: the index of a collection, in which similar songs are looked up
      if it exists.
    max_duration_s: a longer song is rejected.
  """
  try:
    decoded = _decode(model, path, max_duration_s)
    prediction = model.predict_excerpts(path, decoded)
  except DataError as error:
    return (
      f'<div class="mgc-problem" role="alert">{_name(path)}: '
      f'{_text(str(error))}</div>'
    )
  picture = io.BytesIO()
  draw_bare(prediction, decoded.excerpts, picture)
  data = base64.b64encode(picture.getvalue()).decode()
  parts = [
    f'<div aria-live="polite"><h2>{_headline(prediction)}</h2>',
    f'<p>{_text(prediction.warning)}</p>' if prediction.warning else '',
    f'<div class="mgc-picture"><img src="data:image/png;base64,{data}" '
    'alt="Spectrogram and probability of each genre over time">'
    '<div class="mgc-cursor"></div></div>',
    _legend(prediction),
    _similar(model, prediction, index_path),
    '</div>',
  ]
  return ''.join(parts)


def _decode(
  model: Classifier, path: str, max_duration_s: float
) -> DecodedExcerpts:
  """Decodes a file; does not rely on its header to reject long ones."""
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


def _headline(prediction: Prediction) -> str:
  ranked = [f'{_text(g)} {p:.0%}' for g, p in prediction.top[:_NUM_TOP]]
  if prediction.uncertain:
    return f'Uncertain: {", ".join(ranked)}'
  return f'{ranked[0]} <small>({", ".join(ranked[1:])})</small>'


def _legend(prediction: Prediction) -> str:
  items = [
    f'<span class="mgc-key"><i style="background:{color}"></i>'
    f'{_text(name)}</span>'
    for name, color in genre_colors(prediction)
  ]
  return f'<p>{"".join(items)}</p>'


def _similar(
  model: Classifier, prediction: Prediction, index_path: pathlib.Path
) -> str:
  """Lists similar songs if there is an index made with the same model."""
  try:
    with Index(index_path) as index:
      stored_model = index.model()
      if not stored_model or stored_model[1] != model.digest:
        return ''
      found = similar.nearest_others(index, prediction.embedding, _NUM_SIMILAR)
  except (ConfigError, DataError):  # the index is missing or damaged
    return ''
  rows = [
    f'<li>{_song(one.entry)} <small>({_text(one.entry.genre)})</small></li>'
    for one in found
  ]
  return f'<h3>Similar songs</h3><ol>{"".join(rows)}</ol>' if rows else ''


def _song(entry: ClassifiedEntry) -> str:
  title = ' - '.join(filter(None, [entry.artist, entry.title]))
  return _text(title) if title else _name(entry.path)
