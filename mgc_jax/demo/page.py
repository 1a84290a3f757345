"""Builds the web page and serves it."""

# The extra need not be installed where types are checked. Where it is, its own
# marks leave out modules that it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import os
import pathlib
from typing import TYPE_CHECKING

from mgc_jax.system.errors import ConfigError

if TYPE_CHECKING:  # half a dozen seconds: --help need not wait for them
  import gradio

  from mgc_jax.inference.classifier import Classifier

HOST = '127.0.0.1'
UPLOADS_KEPT_S = 3600
SWEEP_INTERVAL_S = 300
_MAX_WAITING = 32  # visitors; the next are told to come again
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
# Moves the line over the picture with the player, and the player with a click.
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
    model: that answers.
    index_path: of a collection; it need not exist.
    max_duration_s: a longer song is refused.
    max_bytes: a larger one, too.
  """
  import gradio as gr

  from mgc_jax.demo import answer as demo_answer
  from mgc_jax.demo import server

  def respond(path: str | None) -> str:
    if not path:
      return ''
    return demo_answer.html(model, path, index_path, max_duration_s)

  limits = f'{max_duration_s / 60:g} minutes and {max_bytes / 1e6:g} MB'
  with gr.Blocks(
    title='Of which genre is this song?',
    analytics_enabled=False,
    delete_cache=(SWEEP_INTERVAL_S, UPLOADS_KEPT_S),
  ) as blocks:
    gr.Markdown(
      '# Of which genre is this song?\n'
      f'The model knows {", ".join(model.genres)}. '
      f'It takes songs of up to {limits}.'
    )
    song = gr.Audio(
      label='A song: drop, choose or record one',
      sources=['upload', 'microphone'],
      type='filepath',
      editable=False,
      elem_id='song',
      # The browser's own player: the line over the picture follows it.
      waveform_options=gr.WaveformOptions(show_recording_waveform=False),
      buttons=[],
    )
    server.fetch_nothing(song)
    answer = gr.HTML(elem_id='answer')
    song.change(
      respond,
      song,
      answer,
      api_visibility='private',
      concurrency_limit=os.cpu_count(),
    )
  return blocks.queue(max_size=_MAX_WAITING)


def serve(blocks: 'gradio.Blocks', port: int, max_bytes: int) -> str:
  """Starts the server in a thread; returns its address.

  Args:
    blocks: of `page`.
    port: 0: a free one.
    max_bytes: a larger upload is refused.

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
