"""Builds the web page and serves it."""

# The type checker may run without the optional dependencies. Gradio does not
# export all the modules that it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mgc_jax.system import cores
from mgc_jax.system.errors import ConfigError

if TYPE_CHECKING:  # importing gradio takes six seconds
  import gradio

  from mgc_jax.inference.classifier import Classifier

HOST = '127.0.0.1'
_HERE = pathlib.Path(__file__).parent
UPLOADS_KEPT_S = 3600
SWEEP_INTERVAL_S = 300
_MAX_WAITING = 32  # visitors in the queue; others are asked to try again


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

  from mgc_jax.demo import answers, server

  responses = answers.Answers(load, index_path, max_duration_s)
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
    result = gr.HTML(answers.EMPTY, elem_id='prediction')
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
    about = gr.Markdown(responses.about(names[0], max_bytes))
    uploads, neighbours = gr.State([]), gr.State([])
    for component in (files, song):
      server.reject_urls(component)

    def on(event: 'Callable', *args: object) -> None:
      event(*args, api_visibility='private', concurrency_limit=cores.count())

    on(files.upload, responses.take, files, [songs, uploads, song])
    on(songs.input, responses.choose, [songs, uploads], song)
    on(example.click, responses.example, None, song)
    shown = [result, similar, neighbours, other]
    on(song.change, responses.classify, [song, model], shown)
    on(model.change, responses.classify, [song, model], shown)
    on(
      model.change, lambda name: responses.about(name, max_bytes), model, about
    )
    on(similar.input, responses.play, [similar, neighbours], other)
  return blocks.queue(max_size=_MAX_WAITING)


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
