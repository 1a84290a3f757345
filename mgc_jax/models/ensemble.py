"""Several networks of one kind that answer together."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Ensemble(nn.Module):
  """Members that differ in their initial weights and in what they hear.

  Of a training batch each member has its own rows, so that a step costs what
  one network's does, and each learns alone; what is evaluated is answered by
  all (deep ensembles, Lakshminarayanan et al. 2017).
  """

  members: tuple[nn.Module, ...]

  @nn.compact
  def __call__(self, windows: jax.Array, train: bool = False) -> jax.Array:
    """Maps f32[B, W, T, F] windows to f32[B, W, C] logits.

    Args:
      windows: of excerpts; when training B is a multiple of the M members.
      train: whether each member has only the rows b with b % M its number.

    Returns:
      In training each row's logits by its member; else the logarithms of the
      members' probabilities, averaged.
    """
    count = len(self.members)
    if train:
      rows = windows.reshape(-1, count, *windows.shape[1:])
      own = [m(rows[:, i], train=True) for i, m in enumerate(self.members)]
      return jnp.stack(own, axis=1).reshape(len(windows), *own[0].shape[1:])
    logits = jnp.concatenate([member(windows)[None] for member in self.members])
    each = jax.nn.log_softmax(logits, axis=-1)
    return jax.nn.logsumexp(each, axis=0) - jnp.log(count)
