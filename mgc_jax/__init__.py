"""Music genre classification in JAX and Flax."""

import os
from typing import TYPE_CHECKING

from mgc_jax.inference.pretrained import BEST

if TYPE_CHECKING:
  from mgc_jax.inference.classifier import Classifier

__version__ = '0.1.0'


def load(
  model: 'str | os.PathLike' = BEST, engine: str = 'auto'
) -> 'Classifier':
  """Loads a model that classifies audio files.

  Args:
    model: tags, cnn, lstm or crnn, which come with the package; the folder of a
      run or of its bundle; or a file that `mgc export` wrote.
    engine: what computes the model: jax; onnx, which needs onnxruntime; or
      auto, the one that is faster on this machine.

  Raises:
    ConfigError: there is no such model or engine.
    DataError: it is damaged.
  """
  # Slow to import for callers that only need the version.
  from mgc_jax.inference import loading

  return loading.load(model, engine=engine)
