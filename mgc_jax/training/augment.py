"""Augments windows, inside the jitted training step."""

import jax
import jax.numpy as jnp

from mgc_jax.config.schema import AugmentConfig

_FILTER_POINTS = 5


def gain(key: jax.Array, windows: jax.Array, max_db: float) -> jax.Array:
  """Raises or lowers the level of each excerpt by up to `max_db`.

  Args:
    key: random key.
    windows: f32[B, W, T, F] in dB.
    max_db: 0 changes nothing.

  Returns:
    f32[B, W, T, F].
  """
  if not max_db:
    return windows
  shape = (len(windows), 1, 1, 1)
  return windows + jax.random.uniform(key, shape, minval=-max_db, maxval=max_db)


def random_filter(
  key: jax.Array, windows: jax.Array, max_db: float
) -> jax.Array:
  """Applies a random filter to each excerpt, as another recording would.

  The response is linear between 5 points over the bands, each within `max_db`
  of zero (Nam, Kim and Park 2022, "FilterAugment", linear type).

  Args:
    key: random key.
    windows: f32[B, W, T, F] in dB.
    max_db: 0 changes nothing.

  Returns:
    f32[B, W, T, F].
  """
  if not max_db:
    return windows
  num_bands = windows.shape[-1]
  points = jnp.linspace(0, num_bands - 1, _FILTER_POINTS)
  shape = (len(windows), _FILTER_POINTS)
  gains = jax.random.uniform(key, shape, minval=-max_db, maxval=max_db)
  response = jax.vmap(jnp.interp, (None, None, 0))(
    jnp.arange(num_bands), points, gains
  )
  return windows + response[:, None, None]


def random_range(
  key: jax.Array, windows: jax.Array, max_bands: int, max_db: float
) -> jax.Array:
  """Limits the bandwidth and the dynamic range of each excerpt at random.

  Args:
    key: random key.
    windows: f32[B, W, T, F] in dB.
    max_bands: up to this many of the highest bands are silenced, in half of the
      excerpts.
    max_db: the smallest value of an excerpt rises by up to this.

  Returns:
    f32[B, W, T, F].
  """
  chance_key, band_key, floor_key = jax.random.split(key, 3)
  num_excerpts, num_bands = len(windows), windows.shape[-1]
  floor = windows.min(axis=(1, 2, 3), keepdims=True)
  removed = jax.random.randint(band_key, (num_excerpts,), 0, max_bands + 1)
  removed *= jax.random.bernoulli(chance_key, shape=(num_excerpts,))
  is_kept = jnp.arange(num_bands)[None] < num_bands - removed[:, None]
  windows = jnp.where(is_kept[:, None, None], windows, floor)
  rise = jax.random.uniform(floor_key, floor.shape, maxval=max_db)
  return jnp.maximum(windows, floor + rise)


def mix_style(key: jax.Array, windows: jax.Array, alpha: float) -> jax.Array:
  """Mixes the band statistics of excerpts (Zhou et al. 2021, "MixStyle").

  The statistics of a band depend on how a track was recorded, so that a network
  learns to rely less on it. Half of the excerpts are changed.

  Args:
    key: random key.
    windows: f32[B, W, T, F], standardised.
    alpha: shares are drawn from Beta(alpha, alpha).

  Returns:
    f32[B, W, T, F].
  """
  share_key, chance_key = jax.random.split(key)
  mean = windows.mean(axis=(1, 2), keepdims=True)
  std = windows.std(axis=(1, 2), keepdims=True) + 1e-3
  share = jax.random.beta(share_key, alpha, alpha, (len(windows),))
  share = jnp.where(
    jax.random.bernoulli(chance_key, shape=share.shape), share, 1.0
  )[:, None, None, None]
  # The batch is in random order, so its reverse is a random partner.
  new_mean = share * mean + (1.0 - share) * mean[::-1]
  new_std = share * std + (1.0 - share) * std[::-1]
  return (windows - mean) / std * new_std + new_mean


def random_shift(
  key: jax.Array, windows: jax.Array, max_bands: int
) -> jax.Array:
  """Shifts each excerpt along the bands, which roughly changes its pitch.

  Args:
    key: random key.
    windows: f32[B, W, T, F].
    max_bands: shifts from -max_bands to max_bands are equally likely; the
      outermost band is repeated. 0 changes nothing.

  Returns:
    f32[B, W, T, F].
  """
  if not max_bands:
    return windows
  num_bands = windows.shape[-1]
  moved = jax.random.randint(key, (len(windows),), -max_bands, max_bands + 1)
  bands = jnp.clip(
    jnp.arange(num_bands)[None] - moved[:, None], 0, num_bands - 1
  )
  return jnp.take_along_axis(windows, bands[:, None, None], axis=3)


def random_speed(
  key: jax.Array, num_excerpts: int, max_speed: float
) -> jax.Array | None:
  """Returns the speed f32[B] at which each excerpt is played.

  Args:
    key: random key.
    num_excerpts: B.
    max_speed: speeds are between 1 / max_speed and max_speed, uniformly on a
      logarithmic scale; the pitch does not change. For 1, returns None.
  """
  if max_speed == 1:
    return None
  bound = jnp.log(max_speed)
  drawn = jax.random.uniform(key, (num_excerpts,), minval=-bound, maxval=bound)
  return jnp.exp(drawn)


def mask_axis(
  key: jax.Array, windows: jax.Array, axis: int, num_masks: int, max_width: int
) -> jax.Array:
  """Zeroes random stripes of each window (SpecAugment, Park et al. 2019).

  Args:
    key: random key.
    windows: f32[B, W, T, F], standardised, so that zero is the mean.
    axis: 2 masks frames, 3 masks bands.
    num_masks: stripes per window.
    max_width: each width from 0 to this is equally likely.

  Returns:
    f32[B, W, T, F].
  """
  size = windows.shape[axis]
  shape = (num_masks, *windows.shape[:2])
  width_key, start_key = jax.random.split(key)
  widths = jax.random.randint(width_key, shape, 0, min(max_width, size) + 1)
  uniform = jax.random.uniform(start_key, shape)
  starts = jnp.floor(uniform * (size - widths + 1)).astype(jnp.int32)
  position = jnp.arange(size)[None, None, None]
  covered = (position >= starts[..., None]) & (
    position < (starts + widths)[..., None]
  )
  keep = ~covered.any(axis=0)  # bool[B, W, size]
  keep = keep[..., None] if axis == 2 else keep[..., None, :]
  return windows * keep


def mixup(
  key: jax.Array, windows: jax.Array, targets: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
  """Mixes each excerpt with another of its batch (Zhang et al. 2018).

  Args:
    key: random key.
    windows: f32[B, W, T, F], standardised.
    targets: f32[B, C], probabilities of the genres.
    alpha: shares are drawn from Beta(alpha, alpha); the excerpt's own is the
      larger one.

  Returns:
    f32[B, W, T, F] windows and f32[B, C] targets.
  """
  share = jax.random.beta(key, alpha, alpha, (len(windows),))
  share = jnp.maximum(share, 1.0 - share)
  # The batch is in random order, so its reverse is a random partner.
  mix = share[:, None, None, None]
  windows = mix * windows + (1.0 - mix) * windows[::-1]
  targets = share[:, None] * targets + (1.0 - share[:, None]) * targets[::-1]
  return windows, targets


def augment_windows(
  key: jax.Array,
  windows: jax.Array,
  targets: jax.Array,
  settings: AugmentConfig,
) -> tuple[jax.Array, jax.Array]:
  """Applies the augmentations of standardised windows: mixup and masks.

  Args:
    key: random key.
    windows: f32[B, W, T, F], standardised.
    targets: f32[B, C], probabilities of the genres.
    settings: `config.augment`.

  Returns:
    f32[B, W, T, F] windows and f32[B, C] targets.
  """
  mix_key, time_key, band_key = jax.random.split(key, 3)
  if settings.mix_style_alpha:
    style_key = jax.random.fold_in(key, 3)  # `split` is `fold_in` of 0 to 2
    windows = mix_style(style_key, windows, settings.mix_style_alpha)
  if settings.mixup_alpha:
    windows, targets = mixup(mix_key, windows, targets, settings.mixup_alpha)
  if settings.num_time_masks:
    windows = mask_axis(
      time_key,
      windows,
      2,
      settings.num_time_masks,
      settings.max_time_mask_frames,
    )
  if settings.num_band_masks:
    windows = mask_axis(
      band_key,
      windows,
      3,
      settings.num_band_masks,
      settings.max_band_mask_bands,
    )
  return windows, targets
