"""Writes what the commands find for other programs: JSON, CSV and M3U8."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from mgc_jax.collection import playlist
from mgc_jax.collection.entry import ClassifiedEntry
from mgc_jax.collection.report import Summary
from mgc_jax.collection.similar import Similar

_COLUMNS = ('path', 'genre', 'probability', 'artist', 'title', 'duration_s')


def similar_as(found: Sequence[Similar], form: str) -> bytes:
  """Returns similar tracks: a JSON object or a row for each, or a playlist.

  Args:
    found: the tracks, the nearest first.
    form: json, csv or m3u8.
  """
  if form == 'm3u8':
    return _playlist(one.entry for one in found)
  rows = [
    {**_facts(one.entry), 'cosine': round(one.cosine, 4)} for one in found
  ]
  if form == 'json':
    return ''.join(f'{json.dumps(row)}\n' for row in rows).encode()
  return _csv([*_COLUMNS, 'cosine'], [list(row.values()) for row in rows])


def report_as(summary: Summary, form: str) -> bytes:
  """Returns a report: one JSON object, a row per genre, or a playlist.

  Args:
    summary: what is reported.
    form: json, csv or m3u8; the playlist has the least certain tracks. Like
      the text, JSON names only the first failures, and gives their number.
  """
  if form == 'm3u8':
    return _playlist(summary.least_certain)
  genres = {
    genre: {
      'tracks': total.num_tracks,
      'hours': round(total.hours, 4),
      'uncertain': total.num_uncertain,
    }
    for genre, total in summary.genres.items()
  }
  if form == 'csv':
    rows = [[genre, *total.values()] for genre, total in genres.items()]
    return _csv(['genre', 'tracks', 'hours', 'uncertain'], rows)
  found = {
    'genres': genres,
    'least_certain': [_facts(entry) for entry in summary.least_certain],
    'num_failures': summary.num_failures,
    'failures': {entry.path: entry.failure for entry in summary.failures},
  }
  return (json.dumps(found, indent=2) + '\n').encode()


def _facts(entry: ClassifiedEntry) -> dict[str, Any]:
  facts = {name: getattr(entry, name) for name in _COLUMNS}
  facts['probability'] = round(entry.probability, 4)
  facts['duration_s'] = round(entry.duration_s, 2)
  return facts


def _csv(header: list[str], rows: list[list]) -> bytes:
  """Paths have the same bytes as on the disk."""
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows([header, *rows])
  return text.getvalue().encode('utf-8', 'surrogateescape')


def _playlist(entries: Iterable[ClassifiedEntry]) -> bytes:
  lines = (text for _, text in playlist.lines(entries))
  return playlist.HEADER + b''.join(lines)
