"""Imports TensorFlow without Keras, which takes a third less time.

TensorFlow imports Keras 3 while it is imported itself, but not where the
environment asks for its predecessor, tf_keras. That is what this module does
for the time of the import. `tf.keras` can be used afterwards as ever: it reads
the environment again at its first use.

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
