"""The TFDS builder, which writes tracks to TFRecords of log-mel windows.

A record is one excerpt: its frames as consecutive windows of `WINDOW_FRAMES`,
the last one padded with zeros. This grid is used for storage only; training
windows are cut from the joined frames.
"""

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from mgc_jax.config.schema import DataConfig, FeaturesConfig
from mgc_jax.datasets import excerpt_index
from mgc_jax.datasets.excerpts import Excerpt, try_excerpts
from mgc_jax.datasets.track import Track
from mgc_jax.datasets.without_keras import tf
from mgc_jax.datasets.workers import map_tracks
from mgc_jax.system.errors import DataError
from mgc_jax.system.printable_text import printable

# Reserve the accelerators for JAX, before TensorFlow touches a device.
tf.config.set_visible_devices([], 'GPU')
tfds.disable_progress_bar()  # `map_tracks` has one

NAME = 'mgc_windows'
VERSION = '1.1.0'
WINDOW_FRAMES = 64

Outcome = list[Excerpt] | str  # of `try_excerpts`


def record_features(
  num_bands: int, genres: Sequence[str]
) -> tfds.features.FeaturesDict:
  """Returns the features of a record.

  Args:
    num_bands: the number of mel bands, F.
    genres: the names of the C genres, in the order of their labels.
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
      # Without BYTES, float16 would not take less space than float32.
      'windows': tfds.features.Tensor(
        shape=(None, WINDOW_FRAMES, num_bands),
        dtype=np.float16,
        encoding=tfds.features.Encoding.BYTES,
      ),
    }
  )


class MgcWindows(tfds.core.GeneratorBasedBuilder):
  """Writes one TFDS split, `excerpts`, which a protocol divides later."""

  VERSION = tfds.core.Version(VERSION)
  name = NAME

  def __init__(
    self,
    tracks: list[Track],
    genres: list[str],
    data: DataConfig,
    features: FeaturesConfig,
    fingerprint: str,
    data_dir: str | os.PathLike,
    outcomes: Callable[[], Iterator[tuple[Track, Outcome]]] | None = None,
  ):
    """Creates a builder; `download_and_prepare` writes the records.

    Args:
      tracks: the tracks to prepare.
      genres: the genres in the order of their labels.
      data: `config.data`: processes, and which tracks are skipped.
      features: `config.features`.
      fingerprint: the name of the sub-folder for these records.
      data_dir: the folder in which that sub-folder is created.
      outcomes: returns each track and its excerpts, or why it has none, in
        order; None to decode with processes of this machine.
    """
    self._tracks = tracks
    self._genres = genres
    # The prefix keeps these apart from the attributes of TFDS.
    self._mgc_data = data
    self._mgc_features = features
    self._mgc_outcomes = outcomes or self._local_outcomes
    self._skipped: list[tuple[Track, str]] = []
    self._damaged: list[tuple[Track, str]] = []
    # TFDS uses the name of its config in the path of the folder.
    super().__init__(
      data_dir=data_dir,
      config=tfds.core.BuilderConfig(name=fingerprint, version=VERSION),
    )

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Log-mel windows of music excerpts, a record per excerpt.',
      features=record_features(self._mgc_features.num_bands, self._genres),
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager  # nothing is downloaded
    return {'excerpts': self._generate_examples()}

  def _generate_examples(self):
    prepared = 0
    for track, outcome in self._mgc_outcomes():
      if isinstance(outcome, str):
        self._skipped.append((track, outcome))
        continue
      if outcome[0].warning:
        self._damaged.append((track, outcome[0].warning))
      for number, excerpt in enumerate(outcome):
        prepared += 1
        example = example_of(track, number, excerpt)
        yield example['excerpt_id'], example
    if not prepared:
      reasons = '; '.join(
        f'{printable(t.path)}: {why}' for t, why in self._skipped[:5]
      )
      raise DataError(f'no track could be prepared: {reasons}')

  def _local_outcomes(self) -> Iterator[tuple[Track, Outcome]]:
    data = self._mgc_data
    return map_tracks(
      try_excerpts,
      self._tracks,
      (self._mgc_features, data.min_duration_s, data.on_damage),
      data.num_workers,
      'prepare',
    )

  def _download_and_prepare(self, *args, **kwargs):
    """Writes the records, their index, and lists of skipped and damaged tracks.

    TFDS runs this in a temporary folder that it renames at the end, so all
    files appear atomically.
    """
    super()._download_and_prepare(*args, **kwargs)
    directory = epath.Path(self.data_dir)
    _write_reasons(directory / excerpt_index.SKIPPED_FILE, self._skipped)
    _write_reasons(directory / excerpt_index.DAMAGED_FILE, self._damaged)
    features = self.info.features
    assert isinstance(features, tfds.features.FeaturesDict)  # of `_info`
    excerpt_index.write(self.data_dir, features, self._genres)


def _write_reasons(path: epath.Path, reasons: list[tuple[Track, str]]) -> None:
  file = io.StringIO(newline='')
  writer = csv.writer(file)
  writer.writerow(['track_id', 'genre', 'path', 'reason'])
  for track, why in reasons:
    row = (track.track_id, track.genre, track.path, why)
    writer.writerow([printable(cell) for cell in row])
  path.write_bytes(file.getvalue().encode())


def example_of(track: Track, number: int, excerpt: Excerpt) -> dict:
  """Returns the content of a record, with the keys of `record_features`.

  Args:
    track: the track that contains the excerpt.
    number: the position of the excerpt among those of its track, from 0.
    excerpt: the frames to store.
  """
  frames = excerpt.frames
  num_windows = -(-len(frames) // WINDOW_FRAMES)
  padding = num_windows * WINDOW_FRAMES - len(frames)
  windows = np.pad(frames, ((0, padding), (0, 0)))
  exact = frames.astype(np.float64)
  return {
    'excerpt_id': f'{track.track_id}#{number}',
    'track_id': track.track_id,
    'artist': track.artist,
    'sha256': excerpt.sha256,
    'label': track.genre,
    'duration_s': excerpt.duration_s,
    'num_frames': len(frames),
    'band_sums': np.stack([exact.sum(0), (exact**2).sum(0)]).astype('f4'),
    'windows': windows.reshape(num_windows, WINDOW_FRAMES, -1),
  }
