"""What a bundle answered where it was made: `golden_outputs.npz` beside it.

Another machine, another version of a library or another bundle format should
answer alike; a test compares. The frames are of the synthetic corpus, which
anybody may copy.
"""

import os
import pathlib
import zipfile

import numpy as np

from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.sources import synthetic
from mgc_jax.distributed.mesh import data_mesh
from mgc_jax.evaluation.evaluate import make_forward
from mgc_jax.models import create_model
from mgc_jax.models.bundle import Bundle
from mgc_jax.system.errors import DataError

FILE = 'golden_outputs.npz'
_DURATION_S = 12.0
_NUM_TRACKS = 2


def window_logits(bundle: Bundle, frames: np.ndarray) -> np.ndarray:
  """Returns f32[E, W, C], a bundle's answers, of no temperature.

  Args:
    bundle: whose features the frames have.
    frames: f16[E, N, F] in dB, excerpts of one length.
  """
  forward = make_forward(
    create_model(bundle.config), bundle.config.windows, data_mesh()
  )
  num_frames = np.full(len(frames), frames.shape[1], np.int32)
  bands = bundle.band_mean, bundle.band_std
  logits, _ = forward(bundle.variables, *bands, frames, num_frames)
  return np.asarray(logits)


def write(bundle: Bundle, directory: str | os.PathLike) -> None:
  """Writes frames of made-up music, and a bundle's answers to them.

  Args:
    bundle: to be asked.
    directory: of the bundle.

  Raises:
    OSError: the folder cannot be written.
  """
  config = bundle.config.copy_and_resolve_references()
  config.data.synthetic.duration_s = _DURATION_S
  tracks = synthetic.list_tracks(config.data)
  step = len(tracks) // _NUM_TRACKS
  frames = np.stack(
    [
      excerpts_of(track, config.features, 1.0)[0].frames
      for track in tracks[::step][:_NUM_TRACKS]
    ]
  )
  logits = window_logits(bundle, frames)
  np.savez_compressed(
    pathlib.Path(directory) / FILE, frames=frames, logits=logits
  )


def read(directory: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
  """Returns f16[E, N, F] frames and the f32[E, W, C] logits of a bundle.

  Args:
    directory: of the bundle.

  Raises:
    DataError: there are none, or they are damaged.
  """
  path = pathlib.Path(directory) / FILE
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return arrays['frames'], arrays['logits']
  except (OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
    raise DataError(f'{path}: {error}') from error
