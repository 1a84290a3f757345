"""Golden outputs: a bundle's logits on the machine that trained it.

They are saved as `golden_outputs.npz` in the folder of the bundle. A test
checks that another machine, library version or bundle format gives the same
logits. The frames come from the synthetic corpus, which has no copyright
restrictions.
"""

import os
import pathlib
import zipfile

import numpy as np

from mgc_jax.config.schema import DataConfig, SyntheticConfig
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
  """Returns f32[E, W, C], a bundle's logits before temperature scaling.

  Args:
    bundle: its feature settings must be those of the frames.
    frames: f16[E, N, F] in dB, excerpts of the same length.
  """
  forward = make_forward(
    create_model(bundle.config), bundle.config.windows, data_mesh()
  )
  num_frames = np.full(len(frames), frames.shape[1], np.int32)
  bands = bundle.band_mean, bundle.band_std
  logits, _ = forward(bundle.variables, *bands, frames, num_frames)
  return np.asarray(logits)


def write(bundle: Bundle, directory: str | os.PathLike) -> None:
  """Writes frames of synthetic music and a bundle's logits for them.

  Args:
    bundle: the bundle to run.
    directory: folder of the bundle.

  Raises:
    OSError: the folder cannot be written.
  """
  config = bundle.config
  size = SyntheticConfig(duration_s=_DURATION_S)
  tracks = synthetic.list_tracks(DataConfig(synthetic=size))
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
  """Reads f16[E, N, F] frames and a bundle's f32[E, W, C] logits for them.

  Args:
    directory: folder of the bundle.

  Raises:
    DataError: the file is missing or damaged.
  """
  path = pathlib.Path(directory) / FILE
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return arrays['frames'], arrays['logits']
  except (OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
    raise DataError(f'{path}: {error}') from error
