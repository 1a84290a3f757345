"""The excerpts of tracks as parts of a Dask job, and the files of the parts."""

import dataclasses
import itertools
import pathlib
import shutil
import socket
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from mgc_jax.audio.excerpt import Excerpt
from mgc_jax.cluster import part_file, parts
from mgc_jax.cluster.attempts import KILLED, Attempts
from mgc_jax.config.schema import DataConfig, FeaturesConfig
from mgc_jax.datasets.excerpts import try_excerpts
from mgc_jax.datasets.records import source_fingerprint
from mgc_jax.datasets.track import Track
from mgc_jax.system.errors import DataError

Outcome = list[Excerpt] | str


@dataclasses.dataclass(frozen=True)
class PreparedParts:
  """The excerpts of tracks, computed on a cluster.

  Attributes:
    tracks: the tracks; all hosts must see their files at the same paths.
    features: `config.features`.
    data: `config.data`.
    folder: for the files of the parts, on a disk that all hosts share.
    scheduler: the address of Dask's scheduler.
  """

  tracks: list[Track]
  features: FeaturesConfig
  data: DataConfig
  folder: pathlib.Path
  scheduler: str

  @property
  def _folder(self) -> pathlib.Path:
    return self.folder / 'parts'

  def outcomes(self) -> Iterator[tuple[Track, Outcome]]:
    """Yields each track and its excerpts, or why it has none, in order.

    Raises:
      ConfigError: Dask is not installed, the scheduler cannot be reached, or a
        worker has other versions of packages.
      DataError: a worker sees other files, or the scheduler is lost.
    """
    self._folder.mkdir(parents=True, exist_ok=True)
    made = []
    for group in parts.groups(self.tracks):
      name = source_fingerprint(list(group), self.data, self.features)
      path = self._folder / f'{name}{part_file.SUFFIX}'
      made.append(parts.Part(path, group))
    job = parts.Job(_compute, (self.features, self.data), 'prepare')
    total = len(self.tracks)
    with tqdm(total=total, desc='prepare', unit='track', disable=None) as bar:
      for part, arrays in parts.computed(self.scheduler, job, made):
        yield from zip(part.items, _unpacked(arrays), strict=True)
        bar.update(len(part.items))

  def delete(self) -> None:
    """Deletes the files of the parts, whose content is in the records now."""
    shutil.rmtree(self._folder, ignore_errors=True)


def _compute(
  part: parts.Part,
  attempts: Attempts,
  features: FeaturesConfig,
  data: DataConfig,
) -> dict[str, np.ndarray]:
  """Runs in a worker: decodes the tracks of a part."""
  tracks = list(part.items)
  if source_fingerprint(tracks, data, features) != part.path.stem:
    raise DataError(
      f'{socket.gethostname()}: sees other files than this command (such as '
      f'{tracks[0].path}), or only one of both has ffmpeg; all hosts need the '
      'same disk and the same programs'
    )
  outcomes = []
  for i, track in enumerate(tracks):
    outcome = KILLED
    if attempts.begin(i):
      outcome = try_excerpts(
        track, features, data.min_duration_s, data.on_damage
      )
    outcomes.append(outcome)
  return _packed(outcomes, features.num_bands)


def _packed(outcomes: list[Outcome], num_bands: int) -> dict[str, np.ndarray]:
  """Returns the arrays for T tracks with E excerpts and N frames in all."""
  by_track = [[] if isinstance(x, str) else x for x in outcomes]
  excerpts = list(itertools.chain.from_iterable(by_track))
  frames = [np.zeros((0, num_bands), np.float16), *(e.frames for e in excerpts)]
  return {
    'reasons': np.array([x if isinstance(x, str) else '' for x in outcomes]),
    'num_excerpts': np.array([len(x) for x in by_track]),  # i64[T]
    'num_frames': np.array([len(e.frames) for e in excerpts], int),  # i64[E]
    'duration_s': np.array([e.duration_s for e in excerpts], float),  # f64[E]
    'sha256': np.array([e.sha256 for e in excerpts], str),
    'warnings': np.array([e.warning for e in excerpts], str),
    'frames': np.concatenate(frames),  # f16[N, F]
  }


def _unpacked(arrays: dict[str, np.ndarray]) -> Iterator[Outcome]:
  """Yields what `_packed` was given."""
  ends = np.cumsum(arrays['num_frames'])
  excerpts = (
    Excerpt(frames, float(duration_s), str(sha256), str(warning))
    for frames, duration_s, sha256, warning in zip(
      np.split(arrays['frames'], ends)[:-1],
      arrays['duration_s'],
      arrays['sha256'],
      arrays['warnings'],
      strict=True,
    )
  )
  for reason, count in zip(
    arrays['reasons'], arrays['num_excerpts'], strict=True
  ):
    yield str(reason) or list(itertools.islice(excerpts, int(count)))
