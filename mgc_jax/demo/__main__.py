"""Serves a web page that classifies songs; shows the genre during playback.

Serves on this machine only (127.0.0.1) until it is stopped by Ctrl-C. Similar
songs are shown if there is an index (mgc collection index DIR) of the same
model. Uploads are deleted after an hour, and at the end. The page contacts no
other host. Needs the extra: pip install 'mgc_jax[demo]'.

Examples:
  mgc demo
  mgc demo --model=runs/mine --port=8000
"""

# The extra need not be installed where types are checked.
# pyright: reportMissingImports=false

import argparse
import contextlib
import functools
import os
import pathlib
import signal
import socket
import tempfile
import time

from mgc_jax.inference import engines, pretrained
from mgc_jax.system import command_line
from mgc_jax.system.arguments import Command, Parser, whole_number
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.user_dirs import user_data_dir


def _sweep(folder: pathlib.Path) -> None:
  """Deletes old copies of songs, and the remains of interrupted uploads."""
  from mgc_jax.demo.page import UPLOADS_KEPT_S

  for place, _, names in os.walk(folder):
    for path in (pathlib.Path(place, name) for name in names):
      with contextlib.suppress(FileNotFoundError):  # Gradio deletes files, too
        if time.time() - path.stat().st_mtime > UPLOADS_KEPT_S:
          path.unlink()


def _check_port(port: int) -> None:
  """Raises `ConfigError` if a port is taken; loading the model takes longer."""
  from mgc_jax.demo.page import HOST

  try:
    socket.create_server((HOST, port)).close()
  except OSError as error:
    reason = os.strerror(error.errno or 0)
    raise ConfigError(
      f'--port={port}: {reason}; use another one, or 0 for a free one'
    ) from error


def _run(args: argparse.Namespace) -> None:
  """Serves until it is stopped."""
  _check_port(args.port)
  # Not needed for --help.
  from mgc_jax.collection.index import Index
  from mgc_jax.demo.page import HOST, SWEEP_INTERVAL_S, page, serve

  # Gradio reads these when it is imported; otherwise it contacts other hosts.
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'
  # Gradio checks its own address; bypass any proxy.
  for name in ('no_proxy', 'NO_PROXY'):  # the first takes precedence
    os.environ[name] = f'{HOST},{os.environ.get(name, "")}'
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
  with tempfile.TemporaryDirectory(prefix='mgc_jax-') as folder:
    os.environ['GRADIO_TEMP_DIR'] = folder  # deleted at the end
    try:
      import gradio  # noqa: F401
    except ImportError as error:
      raise ConfigError(
        "the page needs gradio: pip install 'mgc_jax[demo]'"
      ) from error

    from mgc_jax.inference import loading

    load = functools.cache(
      lambda name: loading.load(name, owns_process=True, engine=args.engine)
    )
    load(args.model)  # reports a missing one
    names = list(dict.fromkeys([args.model, *pretrained.NAMES]))
    index_path = pathlib.Path(
      args.index or user_data_dir() / 'collection.sqlite'
    )
    if args.index:
      with Index(index_path):  # reports a missing index
        pass
    max_bytes = args.max_megabytes * 1_000_000
    max_duration_s = 60.0 * args.max_minutes
    blocks = page(load, names, index_path, max_duration_s, max_bytes)
    address = serve(blocks, args.port, max_bytes)
    print(f'{address} is open; press Ctrl-C to stop', flush=True)
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
    help='tags, cnn, lstm or crnn, the folder of a run or of its bundle, or an '
    'exported file.',
  )
  engines.add_flag(parser)
  parser.add_argument(
    '--index',
    metavar='FILE',
    help="The index of a collection. Default: the user's.",
  )
  parser.add_argument(
    '--port',
    type=whole_number(0, 65535),
    default=7860,
    metavar='N',
    help='Port; 0 chooses a free one.',
  )
  parser.add_argument(
    '--max_minutes',
    type=whole_number(1),
    default=20,
    metavar='N',
    help='Maximum length of a song.',
  )
  parser.add_argument(
    '--max_megabytes',
    type=whole_number(1),
    default=100,
    metavar='N',
    help='Maximum upload size.',
  )


COMMAND = Command(__doc__, _add_arguments, _run)

if __name__ == '__main__':
  command_line.run(COMMAND, 'python -m mgc_jax.demo')
