"""Builds the web page and serves it."""

# The type checker may run without the optional dependencies. Gradio does not
# export all the modules that it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import os
import pathlib
from typing import TYPE_CHECKING

from mgc_jax.system.errors import ConfigError

if TYPE_CHECKING:  # importing gradio takes six seconds
  import gradio

  from mgc_jax.inference.classifier import Classifier

HOST = '127.0.0.1'
UPLOADS_KEPT_S = 3600
SWEEP_INTERVAL_S = 300
_MAX_WAITING = 32  # visitors in the queue; others are asked to try again
_STYLE = """
footer, .icon-button-wrapper.top-panel { display: none !important }
.mgc-picture { position: relative; margin-top: 0.5em }
.mgc-picture img { width: 100%; display: block }
.mgc-cursor { position: absolute; top: 0; bottom: 0; width: 2px; left: 0;
  background: #fff; box-shadow: 0 0 2px #000; pointer-events: none }
.mgc-key { display: inline-block; margin-right: 1em; white-space: nowrap }
.mgc-key i { display: inline-block; width: 0.8em; height: 0.8em;
  margin-right: 0.3em }
.mgc-problem { border-left: 4px solid #c00; padding: 0.5em 1em }
"""
# Moves the line over the picture as the song plays; a click moves the player.
_SCRIPT = """
<script>
const song = () => document.querySelector('#song audio');
const move = () => {
  const line = document.querySelector('.mgc-cursor'), player = song();
  if (line && player && player.duration) {
    line.style.left = 100 * player.currentTime / player.duration + '%';
  }
  requestAnimationFrame(move);
};
requestAnimationFrame(move);
document.addEventListener('click', (event) => {
  const picture = event.target.closest('.mgc-picture'), player = song();
  if (picture && player && player.duration) {
    const box = picture.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    player.currentTime = share * player.duration;
  }
});
</script>
"""


def page(
  model: 'Classifier',
  index_path: pathlib.Path,
  max_duration_s: float,
  max_bytes: int,
) -> 'gradio.Blocks':
  """Builds the page.

  Args:
    model: classifies the songs.
    index_path: the index of a collection, in which similar songs are looked up
      if it exists.
    max_duration_s: a longer song is rejected.
    max_bytes: the largest upload, which the page states; `serve` enforces it.
  """
  import gradio as gr

  from mgc_jax.demo import prediction, server

  def respond(path: str | None) -> str:
    if not path:
      return ''
    return prediction.html(model, path, index_path, max_duration_s)

  limits = f'{max_duration_s / 60:g} minutes and {max_bytes / 1e6:g} MB'
  with gr.Blocks(
    title='Classify a song',
    analytics_enabled=False,
    delete_cache=(SWEEP_INTERVAL_S, UPLOADS_KEPT_S),
  ) as blocks:
    gr.Markdown(
      '# Classify a song\n'
      f'The model distinguishes {", ".join(model.genres)}. '
      f'A song may have up to {limits}.'
    )
    song = gr.Audio(
      label='Drop, choose or record a song',
      sources=['upload', 'microphone'],
      type='filepath',
      editable=False,
      elem_id='song',
      # Shows the browser's own player, which the line over the picture follows.
      waveform_options=gr.WaveformOptions(show_recording_waveform=False),
      buttons=[],
    )
    server.reject_urls(song)
    result = gr.HTML(elem_id='prediction')
    song.change(
      respond,
      song,
      result,
      api_visibility='private',
      concurrency_limit=os.cpu_count(),
    )
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
      theme=gr.themes.Default(font='sans-serif', font_mono='monospace'),
      css=_STYLE,
      head=_SCRIPT,
    )
  except OSError as error:
    raise ConfigError(f'--port={port}: {error}') from error
  return address
