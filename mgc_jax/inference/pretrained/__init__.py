"""The models that come with the package, each a bundle with a card.

`python -m mgc_jax.experiments.shipped_models.build` trains them anew.
"""

import pathlib

NAMES = ('cnn', 'lstm', 'crnn')
BEST = 'cnn'  # docs/RESULTS.md; where no model is named


def path(name: str) -> pathlib.Path:
  """Returns the folder of a bundle that comes with the package.

  Args:
    name: of `NAMES`.
  """
  return pathlib.Path(__file__).parent / name
