"""What the page does when something on it is used.

A visitor may send any value, so the paths of songs stay on the server, and
visitors choose them by their number in a list.
"""

# The type checker may run without the optional dependencies.
# pyright: reportMissingImports=false

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import gradio as gr
import soundfile

from mgc_jax.datasets.sources import synthetic
from mgc_jax.demo import prediction
from mgc_jax.inference.classifier import Classifier
from mgc_jax.system.printable_text import printable

_EXAMPLE = 'rock/001/000?duration_s=30'  # a track of the synthetic corpus
_EXAMPLE_RATE_HZ = 22050
EMPTY = (
  '<p class="mgc-empty">Drop one song or several anywhere on this page, or try '
  'the example.</p>'
)


class Answers:
  """What the page does when something on it is used."""

  def __init__(
    self,
    load: Callable[[str], Classifier],
    index_path: pathlib.Path,
    max_duration_s: float,
  ):
    """Loads nothing yet.

    Args:
      load: returns the model of a name.
      index_path: the index of a collection, which need not exist.
      max_duration_s: a longer song is rejected.
    """
    self._load, self._index_path = load, index_path
    self._max_duration_s = max_duration_s

  def about(self, name: str, max_bytes: int) -> str:
    """Returns what a model knows, and the limits."""
    limits = f'{self._max_duration_s / 60:g} min and {max_bytes / 1e6:g} MB'
    return (
      f'The model {name} distinguishes {", ".join(self._load(name).genres)}. '
      f'A song may have up to {limits}. It stays on this machine.'
    )

  def take(self, paths: list[str]) -> tuple:
    """Shows the list of uploaded songs, and starts with the first."""
    choices = [
      (printable(os.path.basename(path)), str(i))
      for i, path in enumerate(paths)
    ]
    songs = gr.Radio(choices, value='0', visible=len(paths) > 1)
    return songs, paths, paths[0]

  def choose(self, number: str, paths: list[str]) -> str:
    """Returns one of the uploaded songs."""
    return paths[int(number)]

  def example(self) -> str:
    """Returns a song that is computed, so that no music is needed."""
    path = _temporary_path('example.wav')
    samples = synthetic.render(
      f'{synthetic.SCHEME}{_EXAMPLE}', _EXAMPLE_RATE_HZ
    )
    soundfile.write(path, samples, _EXAMPLE_RATE_HZ)
    return path

  def classify(self, path: str | None, name: str) -> tuple:
    """Returns the answer, similar songs and their paths; hides the player."""
    html, found = EMPTY, []
    if path:
      html, found = prediction.answer(
        self._load(name), path, self._index_path, self._max_duration_s
      )
    choices = [(text, str(i)) for i, (text, _) in enumerate(found)]
    similar = gr.Radio(choices, value=None, visible=bool(found))
    player = gr.Audio(None, visible=False)
    return html, similar, [path for _, path in found], player

  def play(self, number: str, paths: list[str]) -> gr.Audio:
    """Plays a copy of a similar song: the page serves no other folder."""
    source = paths[int(number)]
    try:
      copy = shutil.copyfile(source, _temporary_path(os.path.basename(source)))
    except OSError as error:
      raise gr.Error(f'the song cannot be read: {error.strerror}') from error
    return gr.Audio(copy, visible=True)


def _temporary_path(name: str) -> str:
  """Returns a new path in the folder that is deleted at the end."""
  folder = tempfile.mkdtemp(dir=os.environ.get('GRADIO_TEMP_DIR'))
  return os.path.join(folder, name)
