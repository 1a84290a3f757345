"""Builds the web page and serves it."""

# The type checker may run without the optional dependencies. Gradio does not
# export all the modules that it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import soundfile

from mgc_jax.system.errors import ConfigError
from mgc_jax.system.printable_text import printable

if TYPE_CHECKING:  # importing gradio takes six seconds
  import gradio

  from mgc_jax.inference.classifier import Classifier

HOST = '127.0.0.1'
_HERE = pathlib.Path(__file__).parent
UPLOADS_KEPT_S = 3600
SWEEP_INTERVAL_S = 300
_MAX_WAITING = 32  # visitors in the queue; others are asked to try again
_EXAMPLE = 'rock/001/000?duration_s=30'  # a track of the synthetic corpus
_EXAMPLE_RATE_HZ = 22050
_EMPTY = (
  '<p class="mgc-empty">Drop one song or several anywhere on this page, or try '
  'the example.</p>'
)


def page(
  load: 'Callable[[str], Classifier]',
  names: Sequence[str],
  index_path: pathlib.Path,
  max_duration_s: float,
  max_bytes: int,
) -> 'gradio.Blocks':
  """Builds the page.

  Args:
    load: returns the model of a name.
    names: the models that can be chosen, the first one at the start.
    index_path: the index of a collection, in which similar songs are looked up
      if it exists.
    max_duration_s: a longer song is rejected.
    max_bytes: the largest upload, which the page states; `serve` enforces it.
  """
  import gradio as gr

  from mgc_jax.demo import server

  answers = _Answers(load, index_path, max_duration_s)
  with gr.Blocks(
    title='Classify a song',
    analytics_enabled=False,
    delete_cache=(SWEEP_INTERVAL_S, UPLOADS_KEPT_S),
  ) as blocks:
    gr.Markdown('# Classify a song')
    with gr.Row(equal_height=True):
      files = gr.UploadButton(
        'Choose songs',
        file_count='multiple',
        elem_id='files',
        variant='primary',
      )
      example = gr.Button('Try the example', elem_id='example')
      model = gr.Dropdown(
        list(names), value=names[0], label='Model', elem_id='model'
      )
    songs = gr.Radio(label='Songs', visible=False, elem_id='songs')
    song = gr.Audio(
      label='Song: choose or record it',
      sources=['upload', 'microphone'],
      type='filepath',
      editable=False,
      elem_id='song',
      # Shows the browser's own player, which the line over the picture follows.
      waveform_options=gr.WaveformOptions(show_recording_waveform=False),
      buttons=[],
    )
    result = gr.HTML(_EMPTY, elem_id='prediction')
    similar = gr.Radio(label='Similar songs', visible=False, elem_id='similar')
    other = gr.Audio(
      label='Similar song',
      visible=False,
      interactive=False,
      autoplay=True,
      elem_id='other',
      waveform_options=gr.WaveformOptions(show_recording_waveform=False),
      buttons=[],
    )
    about = gr.Markdown(answers.about(names[0], max_bytes))
    uploads, neighbours = gr.State([]), gr.State([])
    for component in (files, song):
      server.reject_urls(component)

    def on(event: 'Callable', *args: object) -> None:
      event(*args, api_visibility='private', concurrency_limit=os.cpu_count())

    on(files.upload, answers.take, files, [songs, uploads, song])
    on(songs.input, answers.choose, [songs, uploads], song)
    on(example.click, answers.example, None, song)
    shown = [result, similar, neighbours, other]
    on(song.change, answers.classify, [song, model], shown)
    on(model.change, answers.classify, [song, model], shown)
    on(model.change, lambda name: answers.about(name, max_bytes), model, about)
    on(similar.input, answers.play, [similar, neighbours], other)
  return blocks.queue(max_size=_MAX_WAITING)


class _Answers:
  """What the page does when something on it is used."""

  def __init__(
    self,
    load: 'Callable[[str], Classifier]',
    index_path: pathlib.Path,
    max_duration_s: float,
  ):
    """See `page`."""
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
    import gradio as gr

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
    from mgc_jax.datasets.sources import synthetic

    path = _temporary_path('example.wav')
    samples = synthetic.render(
      f'{synthetic.SCHEME}{_EXAMPLE}', _EXAMPLE_RATE_HZ
    )
    soundfile.write(path, samples, _EXAMPLE_RATE_HZ)
    return path

  def classify(self, path: str | None, name: str) -> tuple:
    """Returns the answer, similar songs and their paths; hides the player."""
    import gradio as gr

    from mgc_jax.demo import prediction

    html, found = _EMPTY, []
    if path:
      html, found = prediction.answer(
        self._load(name), path, self._index_path, self._max_duration_s
      )
    choices = [(text, str(i)) for i, (text, _) in enumerate(found)]
    similar = gr.Radio(choices, value=None, visible=bool(found))
    player = gr.Audio(None, visible=False)
    return html, similar, [path for _, path in found], player

  def play(self, number: str, paths: list[str]) -> 'gradio.Audio':
    """Plays a copy of a similar song: the page serves no other folder."""
    import gradio as gr

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


def serve(blocks: 'gradio.Blocks', port: int, max_bytes: int) -> str:
  """Starts the server in a thread and returns its address.

  Args:
    blocks: the page from `page`.
    port: the port; 0 for a free one.
    max_bytes: a larger upload is rejected.

  Raises:
    ConfigError: the port is taken.
  """
  import gradio as gr

  from mgc_jax.demo import server

  try:
    _, address, _ = blocks.launch(
      server_name=HOST,
      server_port=port or None,
      max_file_size=max_bytes,
      app_kwargs={'middleware': [server.guard(max_bytes)]},
      footer_links=[],
      prevent_thread_lock=True,
      quiet=True,
      share=False,
      ssr_mode=False,
      theme=gr.themes.Default(
        primary_hue='blue', font='sans-serif', font_mono='monospace'
      ).set(
        # White text on it is readable.
        button_primary_background_fill='*primary_700',
        button_primary_background_fill_hover='*primary_800',
      ),
      css_paths=_HERE / 'page.css',
      head=f'<script>{(_HERE / "page.js").read_text()}</script>',
    )
  except OSError as error:
    raise ConfigError(f'--port={port}: {error}') from error
  return address
