"""Estimates the cost of preparing a large collection on one core.

Whole tracks are clips joined to 270 s, the mean length in FMA. Files are read
once before they are timed, so that the disk is not measured.

  python -m benchmarks.collection_cost --root=$DATA/emotify_mp3
"""

import pathlib
import tempfile
import time

import numpy as np
import soundfile
from ml_collections import ConfigDict

from benchmarks.measure import parser, write_results
from benchmarks.preparation import write_music
from mgc_jax.config.recipes import recipe_config
from mgc_jax.datasets.builder import WINDOW_FRAMES
from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.track import Track

_FMA_FULL_TRACKS = 106_574
_CLIPS_PER_WHOLE = 9


def join_clips(
  clips: list[pathlib.Path], folder: pathlib.Path, num: int
) -> list[pathlib.Path]:
  """Writes MP3s that consist of nine clips each; returns their paths."""
  found = []
  for i in range(num):
    chosen = [clips[(i + j) % len(clips)] for j in range(_CLIPS_PER_WHOLE)]
    parts = [soundfile.read(path, dtype='float32') for path in chosen]
    rate_hz = parts[0][1]
    samples = [x.mean(axis=1) if x.ndim == 2 else x for x, _ in parts]
    stereo = np.repeat(np.concatenate(samples)[:, None], 2, axis=1)
    path = folder / f'{i}.mp3'
    soundfile.write(path, stereo, rate_hz)
    found.append(path)
  return found


def cost(paths: list[pathlib.Path], features: ConfigDict) -> dict[str, float]:
  """Returns tracks per second and the mean size of a track's records."""
  tracks = [Track(p.name, str(p), p.parent.name) for p in paths]
  num_bytes = 0
  excerpts_of(tracks[0], features, 1.0)  # imports
  for path in paths:
    path.read_bytes()
  start_s = time.perf_counter()
  for track in tracks:
    for excerpt in excerpts_of(track, features, 1.0):
      windows = -(-len(excerpt.frames) // WINDOW_FRAMES)
      num_bytes += 2 * windows * WINDOW_FRAMES * features.num_bands
  seconds = time.perf_counter() - start_s
  return {
    'tracks_per_s': len(paths) / seconds,
    'record_bytes': num_bytes / len(paths),
  }


def main() -> None:
  """Prints a line for each kind of excerpt, with the cost for FMA-full."""
  flags = parser(__doc__)
  flags.add_argument('--root', type=pathlib.Path, help='<root>/*/*.mp3')
  args = flags.parse_args()
  num_clips, num_whole = (4, 1) if args.toy else (60, 12)
  features = recipe_config().features
  with tempfile.TemporaryDirectory() as folder:
    root = args.root or pathlib.Path(folder) / 'music'
    if not args.root:
      write_music(root, *((3.0, 2) if args.toy else (30.0, 15)))
    clips = sorted(root.glob('*/*.mp3'))[:num_clips]
    whole = join_clips(clips, pathlib.Path(folder), num_whole)
    found = {
      'clips of 30 s': cost(clips, features),
      'the middle of whole tracks': cost(whole, features),
    }
    features.excerpts = 'all'
    found['all of whole tracks'] = cost(whole, features)
  print(f'{"":28}tracks/s  FMA-full: core-hours  GiB of records')
  for name, row in found.items():
    row['fma_full_core_hours'] = _FMA_FULL_TRACKS / row['tracks_per_s'] / 3600
    row['fma_full_gib'] = _FMA_FULL_TRACKS * row['record_bytes'] / 2**30
    print(
      f'{name:28}{row["tracks_per_s"]:8.1f}'
      f'{row["fma_full_core_hours"]:22.1f}{row["fma_full_gib"]:16.1f}'
    )
  write_results({'ways': found}, args.json)


if __name__ == '__main__':
  main()
