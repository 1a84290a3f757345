"""An ensemble of networks of one kind."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Ensemble(nn.Module):
  """Networks that differ in their initial weights and in their batches.

  In training each member has its own rows of the batch, so a step costs as much
  as that of a single network. In evaluation the probabilities of all members
  are averaged (deep ensembles, Lakshminarayanan et al. 2017).
  """

  members: tuple[nn.Module, ...]

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits.

    Args:
      windows: Windows of excerpts; in training B is a multiple of M, the number
        of members.
      train: Whether row b is given to member b % M only.

    Returns:
      In training the logits of each row by its member, otherwise the logarithm
      of the mean probability over the members.
    """
    count = len(self.members)
    if train:
      rows = windows.reshape(-1, count, *windows.shape[1:])
      own = [m(rows[:, i], train=True) for i, m in enumerate(self.members)]
      return jnp.stack(own, axis=1).reshape(len(windows), *own[0].shape[1:])
    logits = jnp.concatenate([member(windows)[None] for member in self.members])
    each = jax.nn.log_softmax(logits, axis=-1)
    return jax.nn.logsumexp(each, axis=0) - jnp.log(count)
