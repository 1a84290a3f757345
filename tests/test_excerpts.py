import subprocess
import sys

import numpy as np
import pytest

from mgc_jax.audio.log_mel import log_mel
from mgc_jax.config.schema import base_config
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.sources import list_tracks
from mgc_jax.datasets.track import Track
from tests.conftest import tone, write_tone
from tests.processes import run_python


def _track(path):
  return Track('t', str(path), 'jazz')


def test_audio_becomes_float16_frames(tmp_path, tiny_config):
  path = write_tone(tmp_path / 'x.wav', seconds=2.0)
  (excerpt,) = excerpts_of(_track(path), tiny_config.features, 1.0)
  assert excerpt.frames.shape == (63, 20)
  assert excerpt.frames.dtype == np.float16
  assert excerpt.duration_s == 2.0
  wanted = log_mel(tone(2.0)[:, 0], tiny_config.features)
  # float16 rounds to 0.03 dB, and the file's 16 bits add a little.
  np.testing.assert_allclose(excerpt.frames, wanted, atol=0.5)


def test_all_excerpts_of_a_track(tmp_path, tiny_config):
  tiny_config.features.excerpts = 'all'
  path = write_tone(tmp_path / 'x.wav', seconds=7.5)
  found = excerpts_of(_track(path), tiny_config.features, 1.0)
  assert [e.duration_s for e in found] == [3.0, 3.0, 1.5]
  assert len({e.sha256 for e in found}) == 3
  assert len(excerpts_of(_track(path), tiny_config.features, 2.0)) == 2


def test_synthetic_track_is_rendered(tiny_config):
  track = list_tracks(tiny_config.data)[0]
  (excerpt,) = excerpts_of(track, tiny_config.features, 1.0)
  assert excerpt.duration_s == 3.0


def test_long_synthetic_track_is_cut_to_excerpts(tiny_config):
  tiny_config.data.synthetic.duration_s = 7.0
  track = list_tracks(tiny_config.data)[0]
  (middle,) = excerpts_of(track, tiny_config.features, 1.0)
  tiny_config.features.excerpts = 'all'
  found = excerpts_of(track, tiny_config.features, 0.0)
  assert [e.duration_s for e in found] == [3.0, 3.0, 1.0]
  assert middle.sha256 not in {e.sha256 for e in found}


@pytest.mark.slow
def test_keras_is_not_imported_but_stays_usable():
  code = (
    'import sys; import mgc_jax.datasets.reader;'
    'assert "keras" not in sys.modules;'
    'import tensorflow as tf;'
    'assert tf.keras.__version__ >= "3"'
  )
  run_python(code)


def test_workers_load_neither_tensorflow_nor_jax():
  code = (
    'import sys, mgc_jax.main, mgc_jax.datasets.excerpts;'
    'assert not {"tensorflow", "jax"} & set(sys.modules)'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_precomputed_frames_are_unchanged(tmp_path, tiny_config):
  frames = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
  np.save(tmp_path / 'x.npy', frames)
  (excerpt,) = excerpts_of(
    _track(tmp_path / 'x.npy'), tiny_config.features, 1.0
  )
  np.testing.assert_array_equal(excerpt.frames, frames.astype(np.float16))


def test_long_precomputed_frames_are_cut_to_excerpts(tmp_path, tiny_config):
  frames = np.arange(250, dtype=np.float32)[:, None].repeat(20, axis=1)
  np.save(tmp_path / 'x.npy', frames)
  features, track = tiny_config.features, _track(tmp_path / 'x.npy')
  (middle,) = excerpts_of(track, features, 1.0)
  assert len(middle.frames) == 94 and middle.frames[0, 0] == 78
  features.excerpts = 'all'
  joined = [e.frames for e in excerpts_of(track, features, 0.0)]
  np.testing.assert_array_equal(np.concatenate(joined), frames)


def test_real_au_files_are_read(data_dir):
  paths = sorted((data_dir / 'gtzan_audio').glob('*/*.au'))
  assert len(paths) == 8
  features = base_config().features
  for path in paths:
    (excerpt,) = excerpts_of(_track(path), features, 1.0)
    assert excerpt.frames.shape == (646, 128)
