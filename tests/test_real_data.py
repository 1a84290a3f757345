"""Tests on real data sets, if DATA names the folder that contains them."""

import numpy as np
import pytest

from mgc_jax.audio import decode
from mgc_jax.audio.log_mel import log_mel
from mgc_jax.config.schema import base_config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.splits import make_splits


def _prepare(root, tmp_path):
  config = base_config()
  config.data.source, config.data.root = 'manifest', str(root)
  config.data.manifest = 'manifest.csv'
  config.data.prepared_dir = str(tmp_path)
  prepared = prepare(config)
  return prepared, make_splits(prepared, config)


def _assert_no_leaks(prepared, splits):
  for column in ('track_id', 'artist', 'sha256'):
    values = getattr(prepared.index, column)
    found = [set(values[e.rows]) - {''} for e in splits.examples.values()]
    assert sum(map(len, found)) == len(set.union(*found))


def test_given_splits_of_precomputed_frames_are_used(data_dir, tmp_path):
  prepared, splits = _prepare(data_dir / 'gtzan_logmel', tmp_path)
  sizes = {split: len(examples) for split, examples in splits.examples.items()}
  assert splits.protocol == 'given'
  assert sizes == {'train': 442, 'valid': 197, 'test': 0}
  assert splits.eval_examples(None)[0] == 'valid'
  assert set(prepared.index.num_frames) == {387}
  _assert_no_leaks(prepared, splits)


def test_frames_of_real_clips_equal_precomputed_ones(data_dir):
  features = base_config().features
  features.update(
    hop_samples=512,
    frames_per_s=12.9,
    max_frames=387,
    scaling='range',
    excerpt_s=31.0,
  )
  paths = sorted((data_dir / 'gtzan_audio').glob('*/*.au'))
  assert len(paths) == 8
  for path in paths:
    ((_, waveform),) = decode.ExcerptReader(str(path), 22050, 31.0)
    frames = data_dir / 'gtzan_logmel' / path.parent.name / f'{path.stem}.npy'
    wanted = np.load(frames).astype(np.float32)
    found = log_mel(waveform, features)
    assert found.shape == wanted.shape == (387, 128), path
    assert np.abs(found - wanted).mean() < 0.5, path


@pytest.mark.slow
def test_real_mp3s_are_prepared_and_split_by_artist(data_dir, tmp_path):
  prepared, splits = _prepare(data_dir / 'emotify_mp3', tmp_path)
  assert len(prepared.index) == 207 and prepared.skipped == []
  assert splits.protocol == 'artist'
  # Three of the clips are shorter than the others.
  durations_s = np.sort(prepared.index.duration_s)
  np.testing.assert_allclose(durations_s[:3], [10.8, 15.3, 27.3], atol=0.1)
  np.testing.assert_allclose(durations_s[3:], 30.0, atol=0.1)
  _assert_no_leaks(prepared, splits)
