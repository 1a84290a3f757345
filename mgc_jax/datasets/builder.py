"""The TFDS builder: tracks to TFRecords of log-mel windows, whole or absent.

A record is one excerpt: its frames as consecutive windows of
`WINDOW_FRAMES`, the last padded with zeros. That grid is for storage only;
windows for training are cut from the joined frames.
"""

import concurrent.futures
import contextlib
import csv
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from ml_collections import ConfigDict
from tqdm import tqdm

from mgc_jax.datasets import excerpt_index
from mgc_jax.datasets.excerpts import (
  Excerpt,
  end_with_parent,
  try_excerpts,
)
from mgc_jax.datasets.track import Track, printable
from mgc_jax.errors import DataError

# Before TensorFlow touches a device: JAX has the accelerators.
tf.config.set_visible_devices([], 'GPU')
tfds.disable_progress_bar()  # the bar over the tracks is enough

NAME = 'mgc_windows'
VERSION = '1.1.0'
WINDOW_FRAMES = 64


def record_features(
  num_bands: int, genres: Sequence[str]
) -> tfds.features.FeaturesDict:
  """Returns what a record consists of.

  Args:
    num_bands: F.
    genres: names of the C genres.
  """
  return tfds.features.FeaturesDict(
    {
      'excerpt_id': tfds.features.Text(),
      'track_id': tfds.features.Text(),
      'artist': tfds.features.Text(),
      'sha256': tfds.features.Text(),
      'label': tfds.features.ClassLabel(names=genres),
      'duration_s': np.float32,
      'num_frames': np.int32,
      'band_sums': tfds.features.Tensor(shape=(2, num_bands), dtype=np.float32),
      # float16 shrinks only as bytes.
      'windows': tfds.features.Tensor(
        shape=(None, WINDOW_FRAMES, num_bands),
        dtype=np.float16,
        encoding=tfds.features.Encoding.BYTES,
      ),
    }
  )


class MgcWindows(tfds.core.GeneratorBasedBuilder):
  """Writes one TFDS split, `excerpts`; protocols divide it later."""

  VERSION = tfds.core.Version(VERSION)
  name = NAME

  def __init__(
    self,
    tracks: list[Track],
    genres: list[str],
    config: ConfigDict,
    fingerprint: str,
    data_dir: str | os.PathLike,
  ):
    """Keeps what is to be prepared; `download_and_prepare` does it.

    Args:
      tracks: of the source.
      genres: in the order of their labels.
      config: the whole configuration.
      fingerprint: names the sub-folder of these records.
      data_dir: the folder under which that sub-folder is made.
    """
    self._tracks = tracks
    self._genres = genres
    self._mgc_config = config
    self._left_out: list[tuple[Track, str]] = []
    # TFDS makes the config known by its name, which is in the folder's name.
    super().__init__(
      data_dir=data_dir,
      config=tfds.core.BuilderConfig(name=fingerprint, version=VERSION),
    )

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Log-mel windows of music excerpts, a record per excerpt.',
      features=record_features(
        self._mgc_config.features.num_bands, self._genres
      ),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager  # nothing is downloaded
    return {'excerpts': self._generate_examples()}

  def _generate_examples(self):
    config = self._mgc_config
    prepared = 0
    for track, outcome in _decoded(self._tracks, config):
      if isinstance(outcome, str):
        self._left_out.append((track, outcome))
        continue
      for number, excerpt in enumerate(outcome):
        excerpt_id = f'{track.track_id}#{number}'
        prepared += 1
        yield excerpt_id, _example(excerpt_id, track, excerpt)
    if not prepared:
      reasons = '; '.join(
        f'{printable(t.path)}: {why}' for t, why in self._left_out[:5]
      )
      raise DataError(f'no track could be prepared: {reasons}')

  def _download_and_prepare(self, *args, **kwargs):
    """Also writes the index and the list of tracks left out.

    TFDS runs this in a temporary folder that it renames at the end, so all
    files appear at once or not at all.
    """
    super()._download_and_prepare(*args, **kwargs)
    path = os.path.join(self.data_dir, excerpt_index.LEFT_OUT_FILE)
    with open(path, 'w', newline='', encoding='utf-8') as file:
      writer = csv.writer(file)
      writer.writerow(['track_id', 'genre', 'path', 'reason'])
      for track, why in self._left_out:
        row = (track.track_id, track.genre, track.path, why)
        writer.writerow([printable(cell) for cell in row])
    excerpt_index.write(self.data_dir, self.info.features, self._genres)


def _example(excerpt_id: str, track: Track, excerpt: Excerpt) -> dict:
  frames = excerpt.frames
  num_windows = -(-len(frames) // WINDOW_FRAMES)
  padding = num_windows * WINDOW_FRAMES - len(frames)
  windows = np.pad(frames, ((0, padding), (0, 0)))
  exact = frames.astype(np.float64)
  return {
    'excerpt_id': excerpt_id,
    'track_id': track.track_id,
    'artist': track.artist,
    'sha256': excerpt.sha256,
    'label': track.genre,
    'duration_s': excerpt.duration_s,
    'num_frames': len(frames),
    'band_sums': np.stack([exact.sum(0), (exact**2).sum(0)]).astype('f4'),
    'windows': windows.reshape(num_windows, WINDOW_FRAMES, -1),
  }


def _decoded(
  tracks: list[Track], config: ConfigDict
) -> Iterator[tuple[Track, list[Excerpt] | str]]:
  """Yields each track with its excerpts, or with why it has none, in order."""
  num_workers = config.data.num_workers or _num_cores()
  arguments = config.features.copy_and_resolve_references()
  min_s = config.data.min_duration_s
  bar = tqdm(total=len(tracks), desc='prepare', unit='track', disable=None)
  with bar, _executor(min(num_workers, len(tracks))) as submit:
    ahead: list[tuple[Track, Callable]] = []
    for track in tracks:
      ahead.append((track, submit(try_excerpts, track, arguments, min_s)))
      # A bounded queue: results wait in memory until they are written.
      if len(ahead) > 4 * num_workers:
        yield _next(ahead, bar)
    while ahead:
      yield _next(ahead, bar)


def _num_cores() -> int:
  """Returns the cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):  # Linux
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _next(ahead: list, bar: tqdm) -> tuple[Track, list[Excerpt] | str]:
  track, result = ahead.pop(0)
  try:
    outcome = result()
  except concurrent.futures.process.BrokenProcessPool as error:
    named = ', '.join(
      printable(t.path) for t, _ in [(track, result), *ahead][:8]
    )
    raise DataError(
      f'a process that decodes was killed, by one of: {named}; move it away, '
      'or set --config.data.num_workers=1 to see which'
    ) from error
  bar.update()
  return track, outcome


@contextlib.contextmanager
def _executor(num_workers: int) -> Iterator[Callable]:
  """Yields submit(function, *args), which returns a call for the result."""
  if num_workers <= 1:
    yield lambda function, *args: lambda: function(*args)
    return
  # Fresh processes: a fork would copy the locks of JAX's and TF's threads.
  # One BLAS thread each: they would only wait for one another.
  os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
  context = multiprocessing.get_context('spawn')
  pool = concurrent.futures.ProcessPoolExecutor(
    num_workers, context, initializer=end_with_parent
  )
  try:
    yield lambda function, *args: pool.submit(function, *args).result
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
