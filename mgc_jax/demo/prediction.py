"""Formats a prediction as HTML: genre, timeline, similar songs, or an error.

Files are shown without their folders, so that the page reveals no paths.
"""

import base64
import html as escaping
import io
import json
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
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800)  # of a time axis


def answer(
  model: Classifier,
  path: str,
  index_path: pathlib.Path,
  max_duration_s: float,
) -> tuple[str, list[tuple[str, str]]]:
  """Classifies an uploaded file.

  Args:
    model: classifies the file.
    path: the uploaded file.
    index_path: the index of a collection, in which similar songs are looked up
      if it exists.
    max_duration_s: a longer song is rejected.

  Returns:
    The HTML to show, and similar songs: how each is shown, and its path.
  """
  try:
    decoded = _decode(model, path, max_duration_s)
    prediction = model.predict_excerpts(path, decoded)
  except DataError as error:
    problem = (
      f'<div class="mgc-problem" role="alert">{_name(path)}: '
      f'{_text(str(error))}</div>'
    )
    return problem, []
  parts = [
    '<div class="mgc-answer" aria-live="polite">',
    f'<p class="mgc-name">{_name(path)}</p>',
    f'<h2>{_headline(prediction)}</h2>',
    f'<p>{_text(prediction.warning)}</p>' if prediction.warning else '',
    _bars(prediction),
    _picture(prediction, decoded),
    _axis(prediction.duration_s),
    '<p class="mgc-now" aria-hidden="true"></p></div>',
  ]
  return ''.join(parts), _similar(model, prediction, index_path)


def _decode(
  model: Classifier, path: str, max_duration_s: float
) -> DecodedExcerpts:
  """Decodes a file; does not rely on its header to reject long ones."""
  excerpts, found = model.excerpts(path), []
  for excerpt in excerpts:
    if excerpt.start_s + excerpt.duration_s > max_duration_s:
      raise DataError(f'too long: over {max_duration_s / 60:g} min')
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


def _bars(prediction: Prediction) -> str:
  """Returns a bar for each genre of the picture, in its colour."""
  rows = []
  rest = 1.0
  for name, color in genre_colors(prediction):
    share = prediction.probabilities.get(name, rest)  # or the others
    rest -= share
    rows.append(
      f'<li><span>{_text(name)}</span><span class="mgc-bar">'
      f'<i style="width:{share:.1%};background:{color}"></i></span>'
      f'<span class="mgc-share">{share:.0%}</span></li>'
    )
  return f'<ol class="mgc-bars">{"".join(rows)}</ol>'


def _picture(prediction: Prediction, decoded: DecodedExcerpts) -> str:
  """Returns the picture, with which the player's position can be moved."""
  picture = io.BytesIO()
  draw_bare(prediction, decoded.excerpts, picture)
  data = base64.b64encode(picture.getvalue()).decode()
  genres = []
  for one in prediction.timeline:
    best = max(range(len(prediction.genres)), key=one.probabilities.__getitem__)
    text = f'{prediction.genres[best]} {one.probabilities[best]:.0%}'
    genres.append((round(one.start_s, 2), printable(text)))
  attributes = {
    'role': 'slider',
    'tabindex': '0',
    'aria-label': 'Position in the song, over its frames and genres',
    'aria-valuemin': '0',
    'aria-valuenow': '0',
    'aria-valuemax': str(int(prediction.duration_s)),
    'title': 'Click to hear the song from here',
    'data-genres': json.dumps(genres),
  }
  written = ' '.join(
    f'{name}="{escaping.escape(value)}"' for name, value in attributes.items()
  )
  return (
    f'<div class="mgc-picture" {written}>'
    f'<img src="data:image/png;base64,{data}" alt="">'
    '<div class="mgc-cursor"></div></div>'
  )


def _axis(duration_s: float) -> str:
  """Returns the labels of a time axis, at most eight."""
  step_s = next(x for x in _STEPS_S if x >= duration_s / 8 or x == _STEPS_S[-1])
  labels = []
  for i in range(int(duration_s * 0.97 / step_s) + 1):
    seconds = i * step_s
    text = f'{seconds // 60}:{seconds % 60:02d}'
    labels.append(
      f'<span style="left:{seconds / duration_s:.2%}">{text}</span>'
    )
  return f'<div class="mgc-axis" aria-hidden="true">{"".join(labels)}</div>'


def _similar(
  model: Classifier, prediction: Prediction, index_path: pathlib.Path
) -> list[tuple[str, str]]:
  """Finds similar songs if there is an index made with the same model."""
  try:
    with Index(index_path) as index:
      stored_model = index.model()
      if not stored_model or stored_model[1] != model.digest:
        return []
      found = similar.nearest_others(index, prediction.embedding, _NUM_SIMILAR)
  except (ConfigError, DataError):  # the index is missing or damaged
    return []
  return [
    (f'{_song(one.entry)} ({printable(one.entry.genre)})', one.entry.path)
    for one in found
  ]


def _song(entry: ClassifiedEntry) -> str:
  title = ' - '.join(filter(None, [entry.artist, entry.title]))
  return printable(title or os.path.basename(entry.path))
