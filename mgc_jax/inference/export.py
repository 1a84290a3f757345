"""Exports a model to one file that runs without this package's model code.

`python -m mgc_jax.predict --model=FILE` reads it. With --format=jax, any JAX
can run its `program.stablehlo` (`jax.export.deserialize`) on cpu, cuda and tpu
with any batch size. With --format=onnx, any ONNX runtime can run it for one
excerpt at a time; this needs the extra: pip install 'mgc_jax[onnx]'.

Examples:
  python -m mgc_jax.inference.export --model=cnn --to=cnn.mgc
  python -m mgc_jax.inference.export --model=cnn --format=onnx --to=cnn.onnx
"""

from absl import flags

from mgc_jax.inference import pretrained
from mgc_jax.system import command_line
from mgc_jax.system.errors import DataError


def main() -> None:
  """Exports the model that the flags name."""
  from mgc_jax.inference import jax_export, onnx_export
  from mgc_jax.inference.loading import bundle_folder
  from mgc_jax.models import bundle as bundles
  from mgc_jax.system import atomic_file, jax_runtime

  to = command_line.file_of('to')
  assert to is not None  # a required flag
  folder = bundle_folder(flags.FLAGS.model)
  if not folder:
    raise DataError(f'{flags.FLAGS.model}: is exported already')
  jax_runtime.check_device()
  maker = onnx_export if flags.FLAGS.format == 'onnx' else jax_export
  data = maker.of_bundle(bundles.load(folder))
  try:
    atomic_file.write_bytes(to, data)
  except OSError as error:
    raise DataError(f'{to}: cannot be written: {error.strerror}') from error
  print(f'{to}: {len(data) / 1e6:.1f} MB')


if __name__ == '__main__':
  flags.DEFINE_string(
    'model',
    pretrained.BEST,
    'cnn, lstm or crnn (which come with the package), or the '
    'folder of a run or of its bundle.',
  )
  flags.DEFINE_enum('format', 'jax', ['jax', 'onnx'], 'What runs it.')
  flags.DEFINE_string('to', None, 'The file to write.')
  flags.mark_flag_as_required('to')
  command_line.run(main)
