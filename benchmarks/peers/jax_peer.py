"""Our networks and training step, with the interface of the peers."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from benchmarks.flops import count_flops
from benchmarks.peers.jax_variants import apply_variant
from mgc_jax.config.schema import Config
from mgc_jax.models import create_model
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.step import create_state, train_step


class JaxPeer:
  """A network, its optimiser, and the calls that are timed."""

  def __init__(self, config: ConfigDict, batch_shape: tuple, variant: str):
    """Builds the network with random weights.

    Args:
      config: the whole configuration, from `network_config`.
      batch_shape: (B, W, T, F) of the windows.
      variant: the argument of `jax_variants.apply_variant`.
    """
    apply_variant(variant)
    self._config = frozen = Config.from_dict(config)
    model, tx = create_model(frozen), create_optimizer(frozen.train, 1)
    bands = np.zeros(batch_shape[-1], np.float32)
    # Mean 0 and standard deviation 1 make standardising the identity.
    self._state = create_state(model, tx, frozen, bands, bands + 1)
    self.num_params = sum(x.size for x in jax.tree.leaves(self._state.params))
    step = functools.partial(train_step, model=model, tx=tx, config=frozen)
    self._step = jax.jit(step, donate_argnums=0)
    self._forward = jax.jit(model.apply)
    self._key = jax.random.key(0)

  def weights(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns params and batch_stats, f32[...] by names joined with '/'."""
    state = jax.device_get(self._state)
    return tuple(
      flatten_dict(tree, sep='/') for tree in (state.params, state.batch_stats)
    )

  def load(
    self, params: dict[str, np.ndarray], batch_stats: dict[str, np.ndarray]
  ) -> None:
    """Loads the weights that `weights` returned."""
    params, batch_stats = (
      unflatten_dict(jax.tree.map(jnp.asarray, flat), sep='/')
      for flat in (params, batch_stats)
    )
    self._state = self._state.replace(params=params, batch_stats=batch_stats)

  def logits(self, windows: np.ndarray) -> np.ndarray:
    """Maps f32[B, W, T, F] windows to f32[B, W, C], in evaluation mode."""
    return np.asarray(self._forward(self._state.variables(), windows))

  def place(self, windows: np.ndarray, label: np.ndarray) -> Any:
    """Converts f32[B, W, T, F] windows and their excerpts' i64[B] labels."""
    size, num_windows, length, _ = windows.shape
    num_frames = num_windows * length
    batch = {
      'frames': windows.reshape(size, num_frames, -1),
      'num_frames': np.full(size, num_frames, np.int32),
      'label': label.astype(np.int32),
      'weight': np.ones(size, np.float32),
    }
    return jax.device_put((batch, windows))

  def train_step(self, placed: Any) -> None:
    """Takes one step of the optimiser on what `place` returned."""
    self._state, self._last = self._step(self._state, placed[0], self._key)

  def infer(self, placed: Any) -> None:
    """Computes the logits of what `place` returned, in evaluation mode."""
    self._last = self._forward(self._state.variables(), placed[1])

  def wait(self) -> None:
    """Waits for the device; on CPU the calls themselves wait."""
    jax.block_until_ready(self._last)

  def num_compilations(self) -> dict[str, int]:
    """Returns how often the step and inference were compiled."""
    return {
      'the step': self._step._cache_size(),
      'inference': self._forward._cache_size(),
    }

  def flops_and_bytes(self, placed: Any, what: str) -> tuple[float, float]:
    """Returns the FLOPs of `train` or `infer`, and the bytes accessed.

    The bytes are XLA's count for the compiled program, with the body of a loop
    counted once; 0 if the backend does not count them.
    """
    function, args = self._program(placed, what)
    cost = function.lower(*args).compile().cost_analysis() or {}
    if isinstance(cost, list):  # in some versions, with one entry
      cost = cost[0]
    flops = count_flops(function, *args)
    return float(flops), float(cost.get('bytes accessed', 0.0))

  def program(self, placed: Any, what: str) -> str:
    """Returns the compiled program of `train` or `infer` as HLO text."""
    function, args = self._program(placed, what)
    return function.lower(*args).compile().as_text()

  def _program(self, placed: Any, what: str) -> tuple[Any, tuple]:
    """Returns a jitted function and its arguments."""
    if what == 'train':
      return self._step, (self._state, placed[0], self._key)
    return self._forward, (self._state.variables(), placed[1])
