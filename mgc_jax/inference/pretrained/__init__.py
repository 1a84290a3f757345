"""The models that come with the package: bundles with model cards.

`mgc build-models` trains them again.
"""

import pathlib

NAMES = ('tags', 'cnn', 'lstm', 'crnn')
BEST = 'tags'  # the default model; see docs/RESULTS.md
NOT_MUSIC = 'not music'  # what it answers for noise, tones and speech


def path(name: str) -> pathlib.Path:
  """Returns the folder of a bundle that comes with the package.

  Args:
    name: one of `NAMES`.
  """
  return pathlib.Path(__file__).parent / name
