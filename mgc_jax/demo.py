"""A page to listen on: drop or record a song, see its genre while it plays.

Serves on this machine only (127.0.0.1) until it is stopped by Ctrl-C. Similar
songs are shown where there is an index (python -m mgc_jax.collection index DIR)
of the same model. What visitors bring is deleted after an hour, and at the end;
the page asks no other host for anything. Needs the extra:
pip install 'mgc_jax[demo]'.

Examples:
  python -m mgc_jax.demo
  python -m mgc_jax.demo --model=runs/mine --port=8000
"""

# The extra need not be installed where types are checked. Where it is, its own
# marks leave out modules that it documents.
# pyright: reportMissingImports=false, reportPrivateImportUsage=false

import os
import pathlib
import signal
import tempfile
import time
from typing import TYPE_CHECKING

from absl import flags

from mgc_jax import cli, pretrained
from mgc_jax.collection.index import Index
from mgc_jax.errors import ConfigError
from mgc_jax.runtime import user_data_dir

if TYPE_CHECKING:  # half a dozen seconds: --help need not wait for them
  import gradio

  from mgc_jax.classifier import Classifier

HOST = '127.0.0.1'
_MAX_WAITING = 32  # visitors; the next are told to come again
_KEPT_S = 3600  # what visitors brought
_SWEPT_EVERY_S = 300
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

  from mgc_jax import demo_answer, demo_server

  def respond(path: str | None) -> str:
    if not path:
      return ''
    return demo_answer.html(model, path, index_path, max_duration_s)

  limits = f'{max_duration_s / 60:g} minutes and {max_bytes / 1e6:g} MB'
  with gr.Blocks(
    title='Of which genre is this song?',
    analytics_enabled=False,
    delete_cache=(_SWEPT_EVERY_S, _KEPT_S),
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
    demo_server.fetch_nothing(song)
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

  from mgc_jax import demo_server

  try:
    _, address, _ = blocks.launch(
      server_name=HOST,
      server_port=port or None,
      max_file_size=max_bytes,
      app_kwargs={'middleware': [demo_server.guard(max_bytes)]},
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


def _sweep(folder: pathlib.Path) -> None:
  """Deletes what is left of uploads that were broken off."""
  for path in folder.iterdir():
    if path.is_file() and time.time() - path.stat().st_mtime > _KEPT_S:
      path.unlink(missing_ok=True)


def main() -> None:
  """Serves until it is stopped."""
  # Before the import: it reads them there, and would ask other hosts.
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'
  # It asks itself whether it is there: not by way of a proxy.
  for name in ('no_proxy', 'NO_PROXY'):  # the former counts where both are
    os.environ[name] = f'{HOST},{os.environ.get(name, "")}'
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
  with tempfile.TemporaryDirectory(prefix='mgc_jax-') as folder:
    os.environ['GRADIO_TEMP_DIR'] = folder  # gone at the end
    try:
      import gradio  # noqa: F401
    except ImportError as error:
      raise ConfigError(
        "the page needs gradio: pip install 'mgc_jax[demo]'"
      ) from error
    from mgc_jax import loading

    model = loading.load(flags.FLAGS.model, owns_process=True)
    index_path = pathlib.Path(
      flags.FLAGS.index or user_data_dir() / 'collection.sqlite'
    )
    if flags.FLAGS.index:
      with Index(index_path):  # says where there is none
        pass
    max_bytes = flags.FLAGS.max_megabytes * 1_000_000
    max_duration_s = 60.0 * flags.FLAGS.max_minutes
    blocks = page(model, index_path, max_duration_s, max_bytes)
    address = serve(blocks, flags.FLAGS.port, max_bytes)
    print(f'{address} is open; Ctrl-C ends it', flush=True)
    try:
      while True:
        time.sleep(_SWEPT_EVERY_S)
        _sweep(pathlib.Path(folder))
    except KeyboardInterrupt:
      blocks.close(verbose=False)


if __name__ == '__main__':
  flags.DEFINE_string(
    'model',
    pretrained.BEST,
    'cnn, lstm or crnn, the folder of a run or of its bundle, or an exported '
    'file.',
  )
  flags.DEFINE_string(
    'index', None, 'The index of a collection. Default: that of this user.'
  )
  flags.DEFINE_integer('port', 7860, '0: a free one.', 0, 65535)
  flags.DEFINE_integer('max_minutes', 20, 'Of a song.', 1)
  flags.DEFINE_integer('max_megabytes', 100, 'Of an upload.', 1)
  cli.run(main)
