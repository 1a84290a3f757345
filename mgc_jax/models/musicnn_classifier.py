"""musicnn with a head for genres, to be trained further: each window alone."""

import flax.linen as nn
import jax

from mgc_jax.models.cpu.dropout import Dropout
from mgc_jax.models.layers import Head
from mgc_jax.models.musicnn import PRUNED_FRONT_FILTERS, features_of

_DROPOUT = 0.5  # of the features, as where musicnn predicts tags


class MusicnnClassifier(nn.Module):
  """The layers of musicnn up to its features, then dense layers.

  The layers have the names that they have in `Musicnn`, so its weights fit.
  `mgc_jax.config.schema` documents the fields.
  """

  num_genres: int
  dense_sizes: tuple[int, ...] = ()
  dense_dropout: tuple[float, ...] = ()
  dense_activation: str = 'relu'
  freeze_backbone: bool = False

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits."""
    x = features_of(
      windows.reshape(-1, *windows.shape[2:]),
      PRUNED_FRONT_FILTERS,
      train and not self.freeze_backbone,
    )
    if self.freeze_backbone:
      x = jax.lax.stop_gradient(x)
    x = x.reshape(*windows.shape[:2], -1)
    x = Dropout(_DROPOUT, deterministic=not train)(x)
    return Head(
      num_genres=self.num_genres,
      sizes=self.dense_sizes,
      dropout=self.dense_dropout,
      activation=self.dense_activation,
    )(x, train)
