import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mgc_jax.models import windows

B, W, T, F = 2, 3, 5, 4


@pytest.mark.parametrize(
  ('num_frames', 'starts'),
  [
    (3, [0]),  # shorter than a window: one, padded
    (5, [0]),
    (6, [0]),  # a remainder shorter than half a hop is skipped
    (7, [0, 2]),  # a longer one is covered by a window that ends with it
    (9, [0, 4]),
    (10, [0, 4]),
    (11, [0, 4, 6]),
    (13, [0, 4, 8]),
  ],
)
def test_grid_covers_an_excerpt_and_ends_with_it(num_frames, starts):
  size = windows.grid_size(13, T, 4)
  found, real = windows.grid_starts(jnp.array([num_frames]), size, T, 4)
  assert found[0][real[0]].tolist() == starts
  assert windows.grid_size(num_frames, T, 4) == len(starts)


def test_random_windows_are_successive_and_inside():
  num_frames = jnp.full((500,), 20)
  starts, real = windows.random_starts(jax.random.key(0), num_frames, W, T, 4)
  assert bool(real.all())
  assert (np.diff(np.asarray(starts), axis=1) == 4).all()
  assert set(np.asarray(starts[:, 0])) == set(range(8))


def test_windows_beyond_a_short_excerpt_are_not_real():
  starts, real = windows.random_starts(
    jax.random.key(0), jnp.array([3, 9]), W, T, 4
  )
  assert real.tolist() == [[True, False, False], [True, True, False]]
  assert starts[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize('num_frames', [6, 8, 11, 12, 13])
def test_all_frames_of_a_shorter_excerpt_can_be_reached(num_frames):
  """Where fewer than W windows fit, those that do are placed anywhere."""
  starts, real = windows.random_starts(
    jax.random.key(0), jnp.full((500,), num_frames), W, T, 4
  )
  ends = np.asarray(starts + T)[np.asarray(real)]
  assert ends.max() == num_frames
  assert np.asarray(starts)[np.asarray(real)].min() == 0
  fitting = min(W, 1 + (num_frames - T) // 4)
  assert set(np.asarray(real.sum(axis=1))) == {fitting}


def test_random_crop_can_be_switched_off():
  starts, _ = windows.random_starts(
    jax.random.key(0), jnp.full((50,), 20), W, T, 4, shift=False
  )
  assert (starts == jnp.array([[0, 4, 8]])).all()


def test_scattered_windows_are_anywhere_in_order():
  num_frames = jnp.full((500,), 20)
  found, real = windows.scattered_starts(jax.random.key(0), num_frames, W, T)
  starts = np.asarray(found)
  assert bool(real.all()) and (np.diff(starts, axis=1) >= 0).all()
  assert set(starts.ravel()) == set(range(16))
  # Sorted, the middle one of three is in the middle on average.
  assert starts.mean(axis=0) == pytest.approx([3.5, 7.5, 11.5], abs=0.6)


def test_a_short_excerpt_has_one_real_scattered_window():
  starts, real = windows.scattered_starts(
    jax.random.key(0), jnp.array([3, 5, 6]), W, T
  )
  assert real.tolist() == [[True, False, False], [True] * 3, [True] * 3]
  assert (starts[:2] == 0).all() and (starts[2] <= 1).all()


def test_faster_playback_shortens_an_excerpt_and_skips_frames():
  frames = jnp.arange(20.0)[None, :, None] * jnp.ones((2, 20, F))
  speed = jnp.array([2.0, 0.5])
  assert windows.stretched(jnp.array([20, 20]), speed).tolist() == [10, 39]
  starts = jnp.array([[0, 5], [0, 34]])
  found = windows.cut(frames, starts, T, speed)[..., 0]
  assert found[0].tolist() == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]]
  # Halves are rounded to the even frame: none is a mean of two.
  assert found[1].tolist() == [[0, 0, 1, 2, 2], [17, 18, 18, 18, 19]]


def test_speed_1_changes_nothing():
  frames = jax.random.normal(jax.random.key(0), (B, 20, F))
  starts = jnp.array([[0, 4, 15], [1, 2, 3]])
  found = windows.cut(frames, starts, T, jnp.ones(B))
  np.testing.assert_array_equal(found, windows.cut(frames, starts, T))


def test_stats_of_an_excerpt_are_of_its_real_frames():
  frames = jax.random.normal(jax.random.key(0), (B, 20, F)) * 9 - 50
  num_frames = jnp.array([7, 20])
  mean, std = windows.excerpt_stats(frames.astype(jnp.float16), num_frames)
  assert mean.shape == std.shape == (B, 1, 1, 1)
  for b in range(B):
    real = np.asarray(frames[b, : num_frames[b]])
    np.testing.assert_allclose(mean[b].item(), real.mean(), rtol=1e-3)
    np.testing.assert_allclose(std[b].item(), real.std(), rtol=1e-3)
  silent = windows.excerpt_stats(jnp.full((1, 5, F), -80.0), jnp.array([5]))
  assert silent[1].item() == pytest.approx(1e-3)


def test_stats_of_the_bands_of_an_excerpt_are_of_its_real_frames():
  frames = jax.random.normal(jax.random.key(0), (B, 20, F)) * 9 - 50
  frames = frames.astype(jnp.float16)
  num_frames = jnp.array([7, 20])
  mean, std = windows.excerpt_band_stats(frames, num_frames)
  assert mean.shape == std.shape == (B, 1, 1, F)
  for b in range(B):
    real = np.asarray(frames[b, : num_frames[b]], np.float32)
    np.testing.assert_allclose(mean[b, 0, 0], real.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(std[b, 0, 0], real.std(axis=0), rtol=1e-3)
  silent = jnp.full((1, 5, F), -80.0)
  mean, std = windows.excerpt_band_stats(silent, jnp.array([5]))
  np.testing.assert_allclose(mean, -80.0, rtol=1e-3)
  np.testing.assert_array_equal(std, 1.0)


def test_standardised_bands_do_not_depend_on_a_filter():
  frames = jax.random.normal(jax.random.key(0), (B, 13, F)) * 9 - 50
  num_frames = jnp.array([13, 9])
  settings = ConfigDict(
    {'num_frames': T, 'hop_frames': 4, 'standardise': 'excerpt_bands'}
  )
  bands = jnp.zeros(F), jnp.ones(F)
  found, _ = windows.grid_windows(frames, num_frames, *bands, settings)
  response = jnp.linspace(-9.0, 3.0, F)[None, None]
  filtered, _ = windows.grid_windows(
    frames + response, num_frames, *bands, settings
  )
  np.testing.assert_allclose(found, filtered, atol=1e-4)
  mean, std = windows.excerpt_band_stats(frames, num_frames)
  wanted = (frames[0, :T] - mean[0, 0]) / std[0, 0]
  np.testing.assert_allclose(found[0, 0], wanted, atol=1e-5)


def test_standardisation_of_the_grid_follows_the_settings():
  frames = jax.random.normal(jax.random.key(0), (B, 13, F)) * 9 - 50
  num_frames = jnp.array([13, 9])
  settings = ConfigDict(
    {'num_frames': T, 'hop_frames': 4, 'standardise': 'excerpt'}
  )
  bands = jnp.full(F, -50.0), jnp.full(F, 9.0)
  found, mask = windows.grid_windows(frames, num_frames, *bands, settings)
  assert found.shape == (B, W, T, F)
  assert mask.tolist() == [[True] * 3, [True, True, False]]
  mean, std = windows.excerpt_stats(frames, num_frames)
  wanted = (frames[0, :T] - mean[0, 0]) / std[0, 0]
  np.testing.assert_allclose(found[0, 0], wanted, atol=1e-5)
  settings.standardise = 'window'
  found, _ = windows.grid_windows(frames, num_frames, *bands, settings)
  short, _ = windows.grid_windows(frames[1:], jnp.array([3]), *bands, settings)
  for window, b, start, real in (
    (found[0, 0], 0, 0, T),
    (found[0, 2], 0, 13 - T, T),
    (short[0, 0], 1, 0, 3),
  ):
    own = frames[b, start : start + real]
    wanted = (own - own.mean()) / own.std()
    np.testing.assert_allclose(window[:real], wanted, atol=1e-5)
    assert not window[real:].any()
  settings.standardise = 'bands'
  found, _ = windows.grid_windows(frames, num_frames, *bands, settings)
  np.testing.assert_allclose(found[0, 0], (frames[0, :T] + 50) / 9, atol=1e-5)


def test_cut_takes_the_frames_from_each_start():
  frames = jnp.arange(B * 20 * F, dtype=jnp.float16).reshape(B, 20, F)
  starts = jnp.array([[0, 4, 15], [1, 2, 3]])
  found = windows.cut(frames, starts, T)
  assert found.shape == (B, W, T, F) and found.dtype == jnp.float32
  for b in range(B):
    for w in range(W):
      start = int(starts[b, w])
      wanted = frames[b, start : start + T].astype(jnp.float32)
      np.testing.assert_array_equal(found[b, w], wanted)


def test_window_longer_than_all_excerpts_is_padded_with_zeros():
  found = windows.cut(jnp.ones((B, 3, F)), jnp.zeros((B, 1), int), T)
  assert found.shape == (B, 1, T, F)
  assert found[:, :, 3:].sum() == 0 and found[:, :, :3].min() == 1


def test_standardise_zeroes_what_is_beyond_the_end():
  mean, std = jnp.arange(F) * 1.0, jnp.arange(1, F + 1) * 2.0
  cuts = jnp.full((B, W, T, F), 7.0)
  starts = jnp.array([[0, 4, 8]] * B)
  found = windows.standardise(cuts, starts, jnp.array([6, 13]), mean, std)
  np.testing.assert_allclose(
    found[1], jnp.broadcast_to((7 - mean) / std, (W, T, F))
  )
  assert (found[0, 1, 2:] == 0).all() and (found[0, 2] == 0).all()
  assert (found[0, 0] != 0).all()
