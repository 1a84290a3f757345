"""Writes a model as one file that runs without this package's models.

`python -m mgc_jax.predict --model=FILE` takes it. Of --format=jax, any JAX runs
the `program.stablehlo` in it (`jax.export.deserialize`), on cpu, cuda and tpu
and in batches of any size. Of --format=onnx any ONNX runtime takes it, one
excerpt at a time; that needs the extra: pip install 'mgc_jax[onnx]'.

Examples:
  python -m mgc_jax.export --model=cnn --to=cnn.mgc
  python -m mgc_jax.export --model=cnn --format=onnx --to=cnn.onnx
"""

from absl import flags

from mgc_jax import cli, pretrained
from mgc_jax.errors import DataError


def main() -> None:
  """Exports the model that the flags name."""
  from mgc_jax import bundle as bundles
  from mgc_jax import onnx_program, program, runtime, whole_file
  from mgc_jax.loading import bundle_folder

  to = cli.file_of('to')
  assert to is not None  # a required flag
  folder = bundle_folder(flags.FLAGS.model)
  if not folder:
    raise DataError(f'{flags.FLAGS.model}: is exported already')
  runtime.check_device()
  maker = onnx_program if flags.FLAGS.format == 'onnx' else program
  data = maker.of_bundle(bundles.load(folder))
  try:
    whole_file.write_bytes(to, data)
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
  cli.run(main)
