"""Converts the published checkpoint of musicnn.

Downloads the wheel of musicnn 0.1.0 from PyPI, verifies it, and converts the
checkpoint that was trained on the Million Song Dataset to safetensors, without
running any code of the wheel.
"""

import ast
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from typing import Any

import numpy as np
import safetensors.numpy

from mgc_jax.features.encoder import TAGS_FILE, WEIGHTS_FILE
from mgc_jax.system import atomic_file
from mgc_jax.system.errors import DataError

REQUIREMENT = 'musicnn==0.1.0'
WHEEL_SHA256 = (
  'f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa'
)
CHECKPOINT = 'musicnn/MSD_musicnn/'  # prefix of the files of the checkpoint
CONFIGURATION = 'musicnn/configuration.py'
LICENCE = 'musicnn-0.1.0.dist-info/LICENSE.md'
_CHECKPOINT_FILES = ('.index', '.data-00000-of-00001')
_MAX_FILE_BYTES = 64 << 20  # uncompressed

# Our names for the variables of the checkpoint, which are numbered.
_CONVOLUTIONS = tuple(f'front_{i}' for i in range(5)) + tuple(
  f'mid_{i}' for i in range(3)
)
_NORMS = (
  'input_norm',
  *(f'{name}/norm' for name in _CONVOLUTIONS),
  'pool_norm',
  'features_norm',
)
_DENSE = ('features', 'tags')
_NORM_VARIABLES = {
  'gamma': ('params', 'scale'),
  'beta': ('params', 'bias'),
  'moving_mean': ('batch_stats', 'mean'),
  'moving_variance': ('batch_stats', 'var'),
}

_CARD = """# musicnn, trained on the Million Song Dataset

A convolutional network for music tagging by Jordi Pons and Xavier Serra
("musicnn: pre-trained convolutional neural networks for music audio tagging",
ISMIR 2019 late-breaking demo). From 3 s of music it computes the probabilities
of {num_tags} tags and {num_features} features, with {num_params:,} parameters.
Here it is an encoder: smaller networks are trained on its features.

**Source.** `MSD_musicnn` in the wheel of `{requirement}` on PyPI, with the
SHA-256 `{digest}`.
The weights were converted to float16, and are otherwise unchanged, by
`mgc encoders build musicnn`.

**Licence.** ISC. `LICENSE` is the licence file of the wheel.

**Limits.** The tags are what listeners of Last.fm wrote, mostly about Western
popular music recorded before 2011. The probabilities are not calibrated, and
speech and noise get tags, too.

**Tags.** {tags}.
"""


def download(folder: pathlib.Path) -> pathlib.Path:
  """Downloads the wheel with pip, and returns its path.

  Args:
    folder: where to save it.

  Raises:
    DataError: pip is missing or cannot download it.
  """
  words = ['download', '--no-deps', '--only-binary=:all:', '--quiet']
  done = subprocess.run(
    [sys.executable, '-m', 'pip', *words, REQUIREMENT, '--dest', str(folder)],
    capture_output=True,
    text=True,
  )
  wheels = list(folder.glob('*.whl'))
  if done.returncode or len(wheels) != 1:
    reason = done.stderr.strip().splitlines()[-1:] or ['no wheel']
    raise DataError(f'{REQUIREMENT}: pip cannot download it ({reason[0]})')
  return wheels[0]


def convert(
  wheel: pathlib.Path, folder: pathlib.Path, sha256: str = WHEEL_SHA256
) -> None:
  """Writes weights, tags, licence and card of the encoder.

  Args:
    wheel: of musicnn.
    folder: where the files are written; created if it is missing.
    sha256: the expected digest of the wheel.

  Raises:
    DataError: the wheel is another one or damaged, or a file cannot be written.
  """
  try:
    with wheel.open('rb') as file:
      digest = hashlib.file_digest(file, 'sha256').hexdigest()
    if digest != sha256:
      raise DataError(f'{wheel}: wrong bytes: SHA-256 {digest}, not {sha256}')
    with zipfile.ZipFile(wheel) as archive:
      licence = _member(archive, LICENCE)
      tags = _tags(_member(archive, CONFIGURATION).decode())
      checkpoint = _checkpoint(archive)
    weights = _weights(checkpoint)
    num_params = sum(
      value.size for name, value in weights.items() if name.startswith('params')
    )
    card = _CARD.format(
      num_tags=len(tags),
      num_features=len(weights['params/features/bias']),
      num_params=num_params,
      requirement=REQUIREMENT,
      digest=digest,
      tags=', '.join(tags),
    )
    files = {
      WEIGHTS_FILE: safetensors.numpy.save(weights),
      TAGS_FILE: json.dumps(tags, indent=2).encode() + b'\n',
      'LICENSE': licence,
      'README.md': card.encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
      atomic_file.write_bytes(folder / name, data)
  except (OSError, LookupError, zipfile.BadZipFile) as error:
    raise DataError(f'{wheel}: cannot be converted ({error})') from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
  info = archive.getinfo(name)
  if info.file_size > _MAX_FILE_BYTES:
    raise DataError(f'{name}: over {_MAX_FILE_BYTES} bytes')
  return archive.read(info)


def _tags(configuration: str) -> list[str]:
  """Returns the tags of the Million Song Dataset from the wheel's settings."""
  for node in ast.parse(configuration).body:
    if (
      isinstance(node, ast.Assign)
      and ast.unparse(node.targets[0]) == 'MSD_LABELS'
    ):
      return ast.literal_eval(node.value)
  raise LookupError('no MSD_LABELS')


def _checkpoint(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
  """Reads the variables of the network from TensorFlow's checkpoint."""
  from mgc_jax.datasets.without_keras import tf

  with tempfile.TemporaryDirectory() as folder:
    prefix = f'{folder}/model'
    for suffix in _CHECKPOINT_FILES:
      data = _member(archive, CHECKPOINT + suffix)
      pathlib.Path(prefix + suffix).write_bytes(data)
    try:
      # Any: TensorFlow does not annotate it.
      reader: Any = tf.train.load_checkpoint(prefix)
      return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
      }
    except (tf.errors.OpError, ValueError) as error:
      raise DataError(f'{CHECKPOINT}: damaged ({error})') from error


def _weights(checkpoint: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns f16 weights by our names, without the optimiser's variables."""
  found = {}
  for kind, names in (('conv2d', _CONVOLUTIONS), ('dense', _DENSE)):
    for number, name in enumerate(names):
      for variable in ('kernel', 'bias'):
        source = checkpoint[f'{_numbered(kind, number)}/{variable}']
        found[f'params/{name}/{variable}'] = source
  for number, name in enumerate(_NORMS):
    source = _numbered('batch_normalization', number)
    for theirs, (collection, ours) in _NORM_VARIABLES.items():
      value = checkpoint[f'{source}/{theirs}']
      found[f'{collection}/{name}/{ours}'] = value
  # In the checkpoint the channels that the mid-end reads are bands.
  for i in range(3):
    kernel = found[f'params/mid_{i}/kernel']
    found[f'params/mid_{i}/kernel'] = kernel.swapaxes(1, 2)
  return {
    name: np.ascontiguousarray(value, np.float16)
    for name, value in found.items()
  }


def _numbered(kind: str, number: int) -> str:
  return f'{kind}_{number}' if number else kind
