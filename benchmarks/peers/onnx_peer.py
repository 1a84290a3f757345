"""Our networks as `mgc export --format=onnx` writes them.

Inference only; the weights are those that JAX computed.
"""

from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mgc_jax.config.schema import Config
from mgc_jax.inference.onnx_model.graph import Graph
from mgc_jax.inference.onnx_model.layers import Sizes, network
from mgc_jax.inference.onnx_model.runtimes import open_graph
from mgc_jax.inference.onnx_model.weights import Weights
from mgc_jax.models import create_model


class OnnxPeer:
  """A network, and the calls that are timed."""

  def __init__(self, config: ConfigDict, batch_shape: tuple, variant: str):
    """Prepares for `load`, which builds the network.

    Args:
      config: the whole configuration, from `network_config`.
      batch_shape: (B, W, T, F) of the windows.
      variant: the runtime, an argument of `open_graph`.
    """
    self._runtime = variant
    self._config, self._shape = Config.from_dict(config), batch_shape
    shapes = jax.eval_shape(
      create_model(self._config).init, jax.random.key(0), np.zeros(batch_shape)
    )
    self.num_params = sum(x.size for x in jax.tree.leaves(shapes['params']))

  def load(
    self, params: dict[str, np.ndarray], batch_stats: dict[str, np.ndarray]
  ) -> None:
    """Builds the graph with flax's weights, by their names joined with '/'."""
    weights = {f'params/{name}': x for name, x in params.items()}
    weights |= {f'batch_stats/{name}': x for name, x in batch_stats.items()}
    g = Graph()
    logits, _ = network(
      g, 'windows', Sizes(*self._shape[1:]), self._config, Weights(weights)
    )
    shape = (*self._shape[:2], self._config.model.num_genres)
    model = g.model(
      [('windows', np.float32, self._shape)],
      {'logits': (logits, (np.float32, shape))},
    )
    self._graph = open_graph(model.SerializeToString(), self._runtime)

  def logits(self, windows: np.ndarray) -> np.ndarray:
    """Maps f32[B, W, T, F] windows to f32[B, W, C], in evaluation mode."""
    (found,) = self._graph.run({'windows': windows})
    return found

  def place(self, windows: np.ndarray, label: np.ndarray) -> Any:
    """Returns the windows."""
    del label
    return windows

  def infer(self, placed: Any) -> None:
    """Computes the logits of what `place` returned."""
    self.logits(placed)

  def wait(self) -> None:
    """Does nothing, as calls return when they are done."""
