"""Exports a model to one file that runs without this package's model code.

`mgc predict --model=FILE` reads it. With --format=jax, any JAX can run its
`program.stablehlo` (`jax.export.deserialize`) on cpu, cuda and tpu. With
--format=onnx, any ONNX runtime can run it; exporting needs the extra: pip
install 'mgc_jax[onnx]'. Both take any batch size.

Examples:
  mgc export --model=cnn --to=cnn.mgc
  mgc export --model=cnn --format=onnx --to=cnn.onnx
"""

import argparse

from mgc_jax.inference import pretrained
from mgc_jax.system.arguments import Command, Parser, file_path
from mgc_jax.system.errors import DataError


def _run(args: argparse.Namespace) -> None:
  """Exports the chosen model."""
  from mgc_jax.inference import jax_export
  from mgc_jax.inference.loading import bundle_folder
  from mgc_jax.inference.onnx_model import export as onnx_export
  from mgc_jax.models import bundle as bundles
  from mgc_jax.system import atomic_file, jax_runtime

  to = file_path('to', args.to)
  assert to is not None  # a required flag
  folder = bundle_folder(args.model)
  if not folder:
    raise DataError(f'{args.model}: is already an exported model')
  jax_runtime.check_device()
  maker = onnx_export if args.format == 'onnx' else jax_export
  data = maker.of_bundle(bundles.load(folder))
  try:
    atomic_file.write_bytes(to, data)
  except OSError as error:
    raise DataError(f'{to}: cannot be written: {error.strerror}') from error
  print(f'{to}: {len(data) / 1e6:.1f} MB')


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    '--model',
    default=pretrained.BEST,
    help='tags, cnn, lstm or crnn (which come with the package), or the folder '
    'of a run or of its bundle.',
  )
  parser.add_argument(
    '--format',
    choices=['jax', 'onnx'],
    default='jax',
    help='Runtime for the exported file.',
  )
  parser.add_argument(
    '--to', required=True, metavar='FILE', help='The file to write.'
  )


COMMAND = Command(__doc__, _add_arguments, _run)
