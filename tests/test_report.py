import json

import numpy as np
import pytest

from mgc_jax.datasets.preparation_report import (
  genre_counts,
  preparation_report,
)
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.splits import make_splits
from mgc_jax.evaluation import report


@pytest.fixture
def parts(folder_config, music_folder):
  (music_folder / 'rock' / 'text.mp3').write_text('no music')
  prepared = prepare(folder_config)
  return prepared, make_splits(prepared, folder_config)


def test_preparation_report_has_genres_splits_hours_and_skipped_tracks(parts):
  text = preparation_report(*parts)
  rows = [line.split() for line in text.splitlines()]
  assert ['genre', 'train', 'valid', 'test', 'hours'] in rows
  assert ['jazz', '4', '1', '1', '0.00'] in rows
  assert ['all', '8', '2', '2', '0.01'] in rows
  assert 'Skipped: 1 tracks (1 not audio)' in text
  assert 'rock/text.mp3: not audio' in text


def test_genre_counts_are_of_tracks_under_the_window_protocol(
  parts, folder_config
):
  folder_config.data.protocol = 'window'
  prepared, _ = parts
  split = make_splits(prepared, folder_config)
  counts = genre_counts(prepared.index, split)
  assert all((count <= 6).all() for count in counts.values())
  assert counts['train'].tolist() == [6, 6]


def test_result_table_has_scores_intervals_and_sources():
  row = {'precision': 0.5, 'recall': 0.25, 'f1': 1 / 3, 'support': 8}
  scores = {'expected_calibration_error': 0.01, 'negative_log_likelihood': 1.5}
  text = report.result_table(
    {
      'protocol': 'artist',
      'split': 'test',
      'num_tracks': 16,
      'num_windows': 80,
      'track_accuracy': 0.625,
      'track_accuracy_ci95': [0.4, 0.8],
      'track_accuracy_ci95_artists': [0.3, 0.9],
      'window_accuracy': 0.5,
      'top3_track_accuracy': 0.9,
      'macro_f1': 0.6,
      'num_params': 347834,
      'num_tracks_without_artist': 3,
      'per_genre': {'jazz': row, 'rock': row},
      'per_source': {
        'fma': {
          'num_tracks': 12,
          'track_accuracy': 0.75,
          'track_accuracy_ci95': [0.5, 1.0],
        },
        'gtzan': {
          'num_tracks': 4,
          'track_accuracy': 0.25,
          'track_accuracy_ci95': [0.0, 0.75],
        },
      },
      'calibration': {
        'temperature': 1.25,
        'before': scores | {'expected_calibration_error': 0.123},
        'after': scores,
      },
    }
  )
  assert '62.5% (95 % interval over tracks 40.0% to 80.0%, over a' in text
  assert '347,834' in text
  assert 'artist unknown   3 of 16 tracks; each counts' in text
  assert 'at temperature 1.25         before  after' in text
  assert 'expected calibration error   0.123  0.010' in text
  assert 'fma        75.0%  50.0% to 100.0%      12' in text
  assert 'jazz        0.50    0.25  0.33       8' in text


def test_json_is_written_atomically(tmp_path):
  path = tmp_path / 'x.json'
  report.write_json(path, {'a': 1})
  with pytest.raises(TypeError):
    report.write_json(path, {'a': np.zeros(2)})
  assert json.loads(path.read_text()) == {'a': 1}


def test_versions_include_dependencies():
  assert {'python', 'jax', 'flax', 'mgc_jax'} <= set(report.versions())
