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

# The extra need not be installed where types are checked.
# pyright: reportMissingImports=false

import os
import pathlib
import signal
import tempfile
import time

from absl import flags

from mgc_jax.collection.index import Index
from mgc_jax.demo.page import (
  HOST,
  SWEEP_INTERVAL_S,
  UPLOADS_KEPT_S,
  page,
  serve,
)
from mgc_jax.inference import pretrained
from mgc_jax.system import command_line
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.user_dirs import user_data_dir


def _sweep(folder: pathlib.Path) -> None:
  """Deletes what is left of uploads that were broken off."""
  for path in folder.iterdir():
    if path.is_file() and time.time() - path.stat().st_mtime > UPLOADS_KEPT_S:
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

    from mgc_jax.inference import loading

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
        time.sleep(SWEEP_INTERVAL_S)
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
  command_line.run(main)
