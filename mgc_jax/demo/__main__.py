"""A page to listen on: drop or record a song, see its genre while it plays.

Serves on this machine only (127.0.0.1) until it is stopped by Ctrl-C. Similar
songs are shown where there is an index (mgc collection index DIR)
of the same model. What visitors bring is deleted after an hour, and at the end;
the page asks no other host for anything. Needs the extra:
pip install 'mgc_jax[demo]'.

Examples:
  mgc demo
  mgc demo --model=runs/mine --port=8000
"""

# The extra need not be installed where types are checked.
# pyright: reportMissingImports=false

import argparse
import os
import pathlib
import signal
import tempfile
import time

from mgc_jax.inference import pretrained
from mgc_jax.system import command_line
from mgc_jax.system.arguments import Command, Parser, whole_number
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.user_dirs import user_data_dir


def _sweep(folder: pathlib.Path) -> None:
  """Deletes what is left of uploads that were broken off."""
  from mgc_jax.demo.page import UPLOADS_KEPT_S

  for path in folder.iterdir():
    if path.is_file() and time.time() - path.stat().st_mtime > UPLOADS_KEPT_S:
      path.unlink(missing_ok=True)


def _run(args: argparse.Namespace) -> None:
  """Serves until it is stopped."""
  # --help need not wait for these.
  from mgc_jax.collection.index import Index
  from mgc_jax.demo.page import HOST, SWEEP_INTERVAL_S, page, serve

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

    model = loading.load(args.model, owns_process=True)
    index_path = pathlib.Path(
      args.index or user_data_dir() / 'collection.sqlite'
    )
    if args.index:
      with Index(index_path):  # says where there is none
        pass
    max_bytes = args.max_megabytes * 1_000_000
    max_duration_s = 60.0 * args.max_minutes
    blocks = page(model, index_path, max_duration_s, max_bytes)
    address = serve(blocks, args.port, max_bytes)
    print(f'{address} is open; Ctrl-C ends it', flush=True)
    try:
      while True:
        time.sleep(SWEEP_INTERVAL_S)
        _sweep(pathlib.Path(folder))
    except KeyboardInterrupt:
      blocks.close(verbose=False)


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    '--model',
    default=pretrained.BEST,
    help='cnn, lstm or crnn, the folder of a run or of its bundle, or an '
    'exported file.',
  )
  parser.add_argument(
    '--index',
    metavar='FILE',
    help='The index of a collection. Default: that of this user.',
  )
  parser.add_argument(
    '--port',
    type=whole_number(0, 65535),
    default=7860,
    metavar='N',
    help='0: a free one.',
  )
  parser.add_argument(
    '--max_minutes',
    type=whole_number(1),
    default=20,
    metavar='N',
    help='Of a song.',
  )
  parser.add_argument(
    '--max_megabytes',
    type=whole_number(1),
    default=100,
    metavar='N',
    help='Of an upload.',
  )


COMMAND = Command(__doc__, _add_arguments, _run)

if __name__ == '__main__':
  command_line.run(COMMAND, 'python -m mgc_jax.demo')
