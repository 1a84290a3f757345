"""Imports TensorFlow without Keras, which takes a third less time.

TensorFlow imports Keras 3 unless the environment selects the older package
tf_keras. This module selects it during the import only, so `tf.keras` still
works afterwards: it reads the environment when it is first used.

  from mgc_jax.datasets.without_keras import tf
"""

import os

_NAME = 'TF_USE_LEGACY_KERAS'
_given = os.environ.get(_NAME)
os.environ[_NAME] = '1'
try:
  import tensorflow as tf
finally:
  if _given is None:
    del os.environ[_NAME]
  else:
    os.environ[_NAME] = _given

__all__ = ('tf',)
