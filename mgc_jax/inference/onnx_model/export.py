"""Exports a model to ONNX.

The operators are those that runtimes have fast kernels for: convolutions with
folded batch norm, max-pool, LSTM. Any ONNX runtime can run the file. Its inputs
are `frames` and `num_frames` of excerpts, its outputs `logits`, `mask` and
`embedding`. Genres and settings are JSON in the file's metadata.
"""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

import numpy as np

from mgc_jax.inference.model_metadata import max_frames, metadata_json
from mgc_jax.inference.onnx_model.graph import Graph
from mgc_jax.inference.onnx_model.layers import Sizes, network
from mgc_jax.inference.onnx_model.program import INPUTS, KEY, OUTPUTS
from mgc_jax.inference.onnx_model.runtimes import not_installed_error
from mgc_jax.inference.onnx_model.weights import Weights
from mgc_jax.inference.onnx_model.windows import grid_windows
from mgc_jax.models.bundle import Bundle


def of_bundle(bundle: Bundle) -> bytes:
  """Exports a trained model; returns the content of the file.

  The arithmetic is that of float32, whatever `config.model.dtype` is.

  Args:
    bundle: the trained model.

  Raises:
    ConfigError: the optional dependencies are not installed.
  """
  try:
    import onnx  # noqa: F401
  except ImportError as error:
    raise not_installed_error('onnx') from error
  config = bundle.config
  size, num_bands = max_frames(config.features), config.features.num_bands
  g = Graph()
  windows, mask, num_windows = grid_windows(g, *INPUTS, size, bundle)
  sizes = Sizes(num_windows, config.windows.num_frames, num_bands)
  weights = Weights(bundle.variables)
  logits, embedding = network(g, windows, sizes, config, weights)
  batch = 'B'
  shapes = (
    (np.float32, (batch, num_windows, len(bundle.genres))),
    (np.bool_, (batch, num_windows)),
    (np.float32, (batch, num_windows, 'D')),
  )
  model = g.model(
    [
      (INPUTS[0], np.float16, (batch, size, num_bands)),
      (INPUTS[1], np.int32, (batch,)),
    ],
    dict(
      zip(
        OUTPUTS,
        zip((logits, mask, embedding), shapes, strict=True),
        strict=True,
      )
    ),
  )
  entry = model.metadata_props.add()
  entry.key, entry.value = KEY, metadata_json(bundle)
  return model.SerializeToString()
