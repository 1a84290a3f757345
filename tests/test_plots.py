import logging
import warnings
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mgc_jax.audio.excerpt import Excerpt
from mgc_jax.config.schema import base_config
from mgc_jax.evaluation import plots
from mgc_jax.inference import timeline
from mgc_jax.inference.timeline import plot_timeline
from mgc_jax.system import figure_file
from tests.reference import librosa

# Matplotlib would parse the first as a formula and fail to parse the second. It
# would omit the third from a legend, and has no font for the fourth.
ODD_GENRES = ('$uicideboy$', 'A $$ B', '_misc', '\u65e5\u672c\u8a9e')


def _colours(path):
  """Counts the colours of a picture, which are few if it is empty."""
  with PIL.Image.open(path) as image:
    assert min(image.size) > 100
    return len(image.getcolors(image.width * image.height))


@pytest.mark.parametrize('with_valid', [True, False])
def test_curves_are_drawn(tmp_path, with_valid):
  names = ['train_loss', 'train_window_accuracy']
  names += ['valid_loss', 'valid_track_accuracy'] if with_valid else []
  lines = [{'epoch': i, **dict.fromkeys(names, 1.0 / i)} for i in (1, 2, 3)]
  plots.plot_curves(lines, tmp_path / 'c.png')
  assert _colours(tmp_path / 'c.png') > 20


def test_curves_without_any_epoch_are_drawn(tmp_path):
  plots.plot_curves([], tmp_path / 'c.png')
  assert (tmp_path / 'c.png').exists()


def test_confusion_matrix_is_drawn(tmp_path):
  results = {
    'confusion_matrix': [[3, 1], [0, 5]],
    'genres': ['jazz', 'rock'],
    'split': 'test',
    'protocol': 'artist',
  }
  plots.plot_confusion(results, tmp_path / 'c.png')
  assert _colours(tmp_path / 'c.png') > 20


def test_spectrograms_of_seven_genres_are_drawn(tmp_path):
  rng = np.random.default_rng(0)
  excerpts = {
    f'genre{i}': rng.normal(size=(60, 128)).astype(np.float16) for i in range(7)
  }
  plots.plot_spectrograms(excerpts, base_config().features, tmp_path / 's.png')
  assert _colours(tmp_path / 's.png') > 200


def test_distribution_is_drawn(tmp_path):
  counts = {'train': np.array([3, 4]), 'valid': np.array([0, 0])}
  plots.plot_distribution(counts, ('jazz', 'rock'), tmp_path / 'd' / 'd.png')
  assert _colours(tmp_path / 'd' / 'd.png') > 5
  assert list((tmp_path / 'd').iterdir()) == [tmp_path / 'd' / 'd.png']


def _draw_curves(path):
  plots.plot_curves([{'epoch': 1, 'train_loss': 1.0}], path)


def _draw_confusion(path):
  results = {
    'confusion_matrix': np.eye(4, dtype=int).tolist(),
    'genres': list(ODD_GENRES),
    'split': 'test',
    'protocol': 'artist',
  }
  plots.plot_confusion(results, path)


def _draw_spectrograms(path):
  frames = np.zeros((60, 128), np.float16)
  excerpts = dict.fromkeys(ODD_GENRES, frames)
  plots.plot_spectrograms(excerpts, base_config().features, path)


def _draw_distribution(path):
  plots.plot_distribution({'A $$ B': np.arange(1, 5)}, ODD_GENRES, path)


def _draw_levels(path):
  levels, source = np.zeros((4, 6)), np.array(ODD_GENRES)
  plots.plot_levels(levels, source, np.arange(6.0), path)


def _draw_leakage(path):
  accuracy = {'mean': 0.5, 'ci95': (0.4, 0.6)}
  rows = [
    {'network': name, 'protocol': 'A $$ B', 'track_accuracy': accuracy}
    for name in ODD_GENRES
  ]
  plots.plot_leakage(rows, path)


def _prediction():
  """The fields that `plot_timeline` reads: two windows and four genres."""
  windows = [
    SimpleNamespace(
      start_s=x, end_s=x + 1.0, probabilities=(0.4, 0.3, 0.2, 0.1)
    )
    for x in (0.0, 1.0)
  ]
  return SimpleNamespace(
    path='/music/A $$ B.mp3',
    genres=ODD_GENRES,
    genre=ODD_GENRES[0],
    probability=0.4,
    timeline=windows,
    duration_s=2.0,
  )


def _draw_timeline(path):
  excerpt = Excerpt(np.zeros((60, 128), np.float16), 2.0)
  plot_timeline(_prediction(), [excerpt], path)


PICTURES = [
  _draw_curves,
  _draw_confusion,
  _draw_spectrograms,
  _draw_distribution,
  _draw_levels,
  _draw_leakage,
  _draw_timeline,
]


@pytest.mark.parametrize('draw', PICTURES)
def test_names_are_not_parsed_as_formulas(draw, tmp_path, monkeypatch):
  """Nor does a character that is missing from the font cause a warning."""

  def refuse(*args, **kwargs):
    pytest.fail('a text is parsed as a formula')

  monkeypatch.setattr('matplotlib.mathtext.MathTextParser.parse', refuse)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    draw(tmp_path / 'x.png')
  assert _colours(tmp_path / 'x.png') > 5


def test_ticks_made_while_drawing_are_not_parsed_as_formulas(tmp_path):
  figure = Figure(figsize=(12, 3))
  axis = figure.subplots()
  axis.xaxis.set_major_formatter(lambda value, _: 'A $$ B')
  # The new layout is wider and has more ticks.
  figure.subplots_adjust(left=0.45, right=0.55)
  figure_file.save(figure, tmp_path / 'x.png')
  assert _colours(tmp_path / 'x.png') > 5


@pytest.fixture
def figures(monkeypatch):
  """Collects figures instead of writing them."""
  found = []
  monkeypatch.setattr(
    figure_file, 'save', lambda figure, _: found.append(figure)
  )
  return found


def test_curves_have_whole_epochs_on_their_axes(figures, tmp_path):
  lines = [{'epoch': i, 'train_loss': 1.0 / i} for i in (1, 2, 3)]
  plots.plot_curves(lines, tmp_path / 'c.png')
  for axis in figures[0].axes:
    assert all(tick == int(tick) for tick in axis.get_xticks())


def test_timeline_legend_names_every_genre(figures, tmp_path):
  _draw_timeline(tmp_path / 'x.png')
  legend = figures[0].axes[1].get_legend()
  assert tuple(text.get_text() for text in legend.get_texts()) == ODD_GENRES


@pytest.mark.parametrize('min_frequency_hz', [0.0, 900.0])
def test_frequency_labels_are_at_their_mel_bands(
  figures, tmp_path, min_frequency_hz
):
  features = base_config().features
  features.min_frequency_hz = min_frequency_hz
  frames = np.zeros((60, features.num_bands), np.float16)
  plots.plot_spectrograms({'rock': frames}, features, tmp_path / 'x.png')
  (axis,) = figures[0].axes
  wanted_hz = librosa().mel_frequencies(
    features.num_bands + 2,
    fmin=features.min_frequency_hz,
    fmax=features.max_frequency_hz,
  )[1:-1]
  ticks = axis.get_yticks()
  texts = [text.get_text() for text in axis.get_yticklabels()]
  assert '1000' in texts and '8000' in texts and '16000' not in texts
  assert ('500' in texts) == (not min_frequency_hz)
  found = np.interp(ticks - 0.5, np.arange(features.num_bands), wanted_hz)
  np.testing.assert_allclose(found, list(map(int, texts)), atol=2)
  assert axis.get_images()[0].get_extent()[3] == features.num_bands


def _fail(error):
  raise error


def test_failed_plot_is_a_warning_with_its_path_and_the_reason(
  tmp_path, caplog
):
  path = tmp_path / 'curves.png'
  with figure_file.never_stopping(path):
    _fail(ValueError('no\nfont'))
  (record,) = caplog.records
  assert record.levelno == logging.WARNING
  assert record.getMessage() == f'{path}: not drawn: ValueError: no font'


def test_keyboard_interrupt_is_not_a_failed_plot(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with figure_file.never_stopping(tmp_path / 'x.png'):
      _fail(KeyboardInterrupt())


def test_requested_plot_that_cannot_be_written_is_an_error(tmp_path, caplog):
  path = tmp_path / 'none' / 'x.png'
  with figure_file.never_stopping(path):
    figure_file.save(Figure(), path)
  assert 'No such file' in caplog.text
  with pytest.raises(FileNotFoundError):
    with figure_file.never_stopping(path, requested=True):
      figure_file.save(Figure(), path)
  with figure_file.never_stopping(path, requested=True):
    _fail(RuntimeError('any other failure'))


# Machado, Oliveira and Fernandes 2009: how linear RGB looks to people without
# one kind of cones.
_SIMULATED = {
  'protanopia': [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  'deuteranopia': [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
  ],
  'tritanopia': [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.303900],
  ],
}


def _lab(linear):
  """Converts linear sRGB, f64[n, 3], to CIELAB."""
  to_xyz = [
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
  ]
  xyz = np.clip(linear @ np.transpose(to_xyz), 0, None) / [0.9505, 1, 1.089]
  f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
  x, y, z = f.T
  return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize('kind', [None, *_SIMULATED])
def test_neighbours_in_the_timeline_differ_for_colour_blind_people(kind):
  rgb = np.array([to_rgb(x) for x in (*timeline._COLORS, timeline._OTHERS)])
  linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
  if kind:
    linear = np.clip(linear @ np.transpose(_SIMULATED[kind]), 0, 1)
  lab = _lab(linear)
  # A difference of 2.3 can just be noticed.
  assert np.linalg.norm(np.diff(lab, axis=0), axis=1).min() > 15
  # All of them can be told from white and from the dark page.
  assert lab[:, 0].max() < 90 and lab[:, 0].min() > 25
