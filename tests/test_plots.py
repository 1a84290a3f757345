import matplotlib.image
import numpy as np
import pytest

from mgc_jax import plots
from mgc_jax.config import base_config


def _colours(path):
  """Reads the picture: one that shows nothing has few colours."""
  image = matplotlib.image.imread(path)
  assert min(image.shape[:2]) > 100
  return len(np.unique(image.reshape(-1, image.shape[-1]), axis=0))


@pytest.mark.parametrize('with_valid', [True, False])
def test_curves(tmp_path, with_valid):
  names = ['train_loss', 'train_window_accuracy']
  names += ['valid_loss', 'valid_track_accuracy'] if with_valid else []
  lines = [
    {'epoch': i, **dict.fromkeys(names, 1.0 / (i + 1))} for i in range(3)
  ]
  plots.plot_curves(lines, tmp_path / 'c.png')
  assert _colours(tmp_path / 'c.png') > 20


def test_curves_of_no_epoch(tmp_path):
  plots.plot_curves([], tmp_path / 'c.png')
  assert (tmp_path / 'c.png').exists()


def test_confusion(tmp_path):
  results = {
    'confusion_matrix': [[3, 1], [0, 5]],
    'genres': ['jazz', 'rock'],
    'split': 'test',
    'protocol': 'artist',
  }
  plots.plot_confusion(results, tmp_path / 'c.png')
  assert _colours(tmp_path / 'c.png') > 20


def test_spectrograms_of_seven_genres(tmp_path):
  rng = np.random.default_rng(0)
  excerpts = {
    f'genre{i}': rng.normal(size=(60, 128)).astype(np.float16) for i in range(7)
  }
  plots.plot_spectrograms(excerpts, base_config().features, tmp_path / 's.png')
  assert _colours(tmp_path / 's.png') > 200


def test_distribution(tmp_path):
  counts = {'train': np.array([3, 4]), 'valid': np.array([0, 0])}
  plots.plot_distribution(counts, ('jazz', 'rock'), tmp_path / 'd' / 'd.png')
  assert _colours(tmp_path / 'd' / 'd.png') > 5
  assert list((tmp_path / 'd').iterdir()) == [tmp_path / 'd' / 'd.png']
