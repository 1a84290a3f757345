import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgc_jax.config.schema import AugmentConfig
from mgc_jax.training import augment

B, W, T, F, C = 6, 3, 30, 20, 4


@pytest.fixture
def windows():
  return 1.0 + jax.random.uniform(jax.random.key(1), (B, W, T, F))


def test_gain_shifts_each_excerpt_as_a_whole(windows):
  shift = augment.gain(jax.random.key(0), windows, 6.0) - windows
  per_excerpt = np.asarray(shift.reshape(B, -1))
  assert np.ptp(per_excerpt, axis=1).max() < 1e-5
  assert len(set(per_excerpt[:, 0].round(4))) == B
  assert np.abs(per_excerpt).max() <= 6.0
  assert augment.gain(jax.random.key(0), windows, 0.0) is windows


def test_a_filter_shifts_the_bands_of_an_excerpt_equally_in_all_frames(windows):
  moved = augment.random_filter(jax.random.key(0), windows, 6.0) - windows
  moved = np.asarray(moved.reshape(B, W * T, F))
  assert np.ptp(moved, axis=1).max() < 1e-5
  response = moved[:, 0]
  assert 3.0 < np.abs(response).max() <= 6.0
  assert len({row.tobytes() for row in response.round(4)}) == B
  # Linear between 5 points, two of them the outermost bands.
  bends = np.abs(np.diff(response, 2, axis=1)) > 1e-3
  assert bends.any(axis=1).all() and bends.sum(axis=1).max() <= 6
  assert augment.random_filter(jax.random.key(0), windows, 0.0) is windows


def test_a_shift_moves_all_bands_of_an_excerpt_by_one_number(windows):
  found = np.asarray(augment.random_shift(jax.random.key(0), windows, 3))
  windows = np.asarray(windows)
  shifts = []
  for excerpt, moved in zip(windows, found, strict=True):
    padded = np.pad(excerpt, ((0, 0), (0, 0), (3, 3)), mode='edge')
    shifts += [
      shift
      for shift in range(-3, 4)
      if (padded[..., 3 - shift : 3 - shift + F] == moved).all()
    ]
  assert len(shifts) == B and len(set(shifts)) > 2
  assert augment.random_shift(jax.random.key(0), windows, 0) is windows


@pytest.mark.parametrize('axis', [2, 3])
def test_mask_zeroes_stripes_no_wider_than_allowed(windows, axis):
  found = augment.mask_axis(jax.random.key(0), windows, axis, 1, 5)
  other = 3 if axis == 2 else 2
  masked = np.asarray((found == 0).all(axis=other))  # [B, W, T or F]
  assert masked.any()
  for row in masked.reshape(B * W, -1):
    places = np.flatnonzero(row)
    assert len(places) <= 5
    assert len(places) == 0 or np.ptp(places) == len(places) - 1
  assert len({row.tobytes() for row in masked.reshape(B * W, -1)}) > B
  untouched = np.asarray(found) != 0
  np.testing.assert_array_equal(
    found[untouched], np.asarray(windows)[untouched]
  )


def test_mixup_mixes_windows_and_targets_equally(windows):
  targets = jnp.eye(C)[jnp.array([0, 1, 2, 3, 0, 1])]
  mixed, mixed_targets = augment.mixup(jax.random.key(0), windows, targets, 1.0)
  np.testing.assert_allclose(mixed_targets.sum(axis=1), 1.0, rtol=1e-6)
  for b in range(B):
    partner = B - 1 - b
    label = int(targets[b].argmax())
    share = float(mixed_targets[b, label])
    assert 0.5 <= share <= 1.0
    wanted = share * windows[b] + (1 - share) * windows[partner]
    np.testing.assert_allclose(mixed[b], wanted, rtol=1e-5)


@pytest.mark.parametrize(
  'switched_off',
  ['mixup_alpha', 'num_time_masks', 'num_band_masks', 'mix_style_alpha'],
)
def test_each_augmentation_can_be_switched_off(windows, switched_off):
  targets = jnp.eye(C)[jnp.array([0, 1, 2, 3, 0, 1])]

  def apply(**fields):
    off = {'mixup_alpha': 0.0, 'num_time_masks': 0, 'num_band_masks': 0}
    settings = AugmentConfig(**{**off, **fields})
    return augment.augment_windows(
      jax.random.key(0), windows, targets, settings
    )

  same, same_targets = apply()
  np.testing.assert_array_equal(same, windows)
  np.testing.assert_array_equal(same_targets, targets)
  changed, _ = apply(**{switched_off: 1 if 'num' in switched_off else 0.5})
  assert (np.asarray(changed) != np.asarray(windows)).any()


def test_a_range_loses_its_highest_bands_and_rises_at_the_bottom(windows):
  key = jax.random.key(0)
  found = np.asarray(augment.random_range(key, windows, 8, 0.0))
  floor = np.asarray(windows).min(axis=(1, 2, 3))
  removed = []
  for excerpt, moved, lowest in zip(windows, found, floor, strict=True):
    num_kept = int((moved == excerpt).all(axis=(0, 1)).sum())
    np.testing.assert_array_equal(
      moved[..., :num_kept], excerpt[..., :num_kept]
    )
    assert (moved[..., num_kept:] == lowest).all()
    removed.append(F - num_kept)
  assert 0 in removed and len(set(removed)) > 2 and max(removed) <= 8


def test_a_floor_rises_by_no_more_than_allowed(windows):
  key = jax.random.key(0)
  found = np.asarray(augment.random_range(key, windows, 0, 0.5))
  rise = found.min(axis=(1, 2, 3)) - windows.min(axis=(1, 2, 3))
  assert len(set(rise.tolist())) == B and 0 <= rise.min() < rise.max() <= 0.5
  wanted = np.maximum(windows, found.min(axis=(1, 2, 3), keepdims=True))
  np.testing.assert_array_equal(found, wanted)
  same = augment.random_range(key, windows, 0, 0.0)
  np.testing.assert_array_equal(same, windows)


def test_mix_style_gives_half_of_the_excerpts_statistics_in_between(windows):
  """Each excerpt keeps its shape: it is moved and scaled band by band."""
  scales = 1.0 + jnp.arange(B)[:, None, None, None]
  windows = windows * scales
  found = augment.mix_style(jax.random.key(0), windows, 0.5)

  def stats(x):
    return np.asarray(x.mean(axis=(1, 2))), np.asarray(x.std(axis=(1, 2)))

  changed = 0
  for before, after in zip(stats(windows), stats(found), strict=True):
    partner = before[::-1]
    share = (after - partner) / (before - partner)  # B is even
    np.testing.assert_allclose(
      share, np.broadcast_to(share[:, :1], share.shape), atol=0.02
    )
    assert -0.01 <= share.min() and share.max() <= 1.01
    changed = (share[:, 0] < 0.99).sum()
  assert 0 < changed < B

  def shape(x):
    mean, std = x.mean(axis=(1, 2)), x.std(axis=(1, 2))
    return (x - mean[:, None, None]) / std[:, None, None]

  np.testing.assert_allclose(shape(found), shape(windows), atol=1e-3)


def test_augmentations_draw_independently(windows):
  """The key of MixStyle is none of those that the others use."""
  key = jax.random.key(0)
  settings = AugmentConfig(
    mixup_alpha=0.0, num_time_masks=0, num_band_masks=0, mix_style_alpha=0.5
  )
  targets = jnp.eye(C)[jnp.array([0, 1, 2, 3, 0, 1])]
  found, _ = augment.augment_windows(key, windows, targets, settings)
  for other in (key, *jax.random.split(key, 3)):
    assert (found != augment.mix_style(other, windows, 0.5)).any()


def test_another_key_gives_another_augmentation(windows):
  one = augment.mask_axis(jax.random.key(0), windows, 2, 2, 5)
  two = augment.mask_axis(jax.random.key(1), windows, 2, 2, 5)
  assert (np.asarray(one) != np.asarray(two)).any()


def test_speeds_lie_between_their_bounds():
  found = augment.random_speed(jax.random.key(0), 2000, 1.25)
  assert 0.8 <= found.min() < 0.81 and 1.24 < found.max() <= 1.25
  assert np.log(found).mean() == pytest.approx(0, abs=0.01)
  assert augment.random_speed(jax.random.key(0), 3, 1.0) is None
