"""Compares the preparation of music with a plain librosa loop.

Both do the same work: decode and resample, compute log-mels of the middle 30 s,
and write float16. The time for the first tracks is subtracted from both, which
excludes process start and compilation. Also measures peak memory. Without
--root, generated music is first written as MP3s.

  python -m benchmarks.preparation --root=$DATA/emotify_mp3
"""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import librosa
import numpy as np
import soundfile

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from mgc_jax.config.schema import base_config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.sources import synthetic

_WARM_UP_TRACKS = 2
_WINDOW_FRAMES = 128


def librosa_loop(paths: list[pathlib.Path], out: pathlib.Path) -> None:
  """Prepares tracks as a user might: one process, one file per track."""
  for number, path in enumerate(paths):
    waveform, rate = librosa.load(path, sr=22050)
    start = max(0, len(waveform) - 30 * rate) // 2
    waveform = waveform[start : start + 30 * rate]
    size = _WINDOW_FRAMES * 1024
    windows = [
      librosa.power_to_db(
        librosa.feature.melspectrogram(
          y=waveform[start : start + size],
          sr=rate,
          n_fft=2048,
          hop_length=1024,
          n_mels=128,
        )
      ).T.astype(np.float16)
      for start in range(0, len(waveform), size)
    ]
    np.save(out / f'{number}.npy', np.concatenate(windows))


def seconds_of(method: str, paths: list[pathlib.Path]) -> float:
  """Times one method on the tracks, in a new folder."""
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder)
    config = base_config()
    config.data.source, config.data.manifest = 'manifest', str(out / 'm.csv')
    config.data.root = '/'
    config.data.prepared_dir = folder
    config.data.num_workers = 2
    # Preparation requires two genres; which track has which does not matter.
    rows = [f'{path},{i},genre {i % 2}' for i, path in enumerate(paths)]
    text = 'path,track_id,genre\n' + '\n'.join(rows) + '\n'
    (out / 'm.csv').write_text(text)
    start_s = time.perf_counter()
    if method == 'librosa':
      librosa_loop(paths, out)
    else:
      prepare(config)
    return time.perf_counter() - start_s


def peak_gib(root: pathlib.Path) -> float:
  """Runs the command and samples the memory of all its processes."""
  with tempfile.TemporaryDirectory() as folder:
    process = subprocess.Popen(
      [
        *(sys.executable, '-m', 'mgc_jax', 'prepare'),
        *('--config=configs/cnn.py', '--config.data.source=folder'),
        *(f'--config.data.root={root}', '--config.data.num_workers=2'),
        f'--config.data.prepared_dir={folder}',
      ],
      stdout=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
      peak = max(peak, _tree_bytes(process.pid))
      time.sleep(0.3)
    if process.returncode:
      raise RuntimeError('preparation failed')
  return peak / 2**30


def _tree_bytes(pid: int) -> int:
  """Sums proportional set sizes (Linux), which count shared pages once."""
  total = 0
  try:
    for line in pathlib.Path(f'/proc/{pid}/smaps_rollup').open():
      if line.startswith('Pss:'):
        total = int(line.split()[1]) * 1024
    for task in os.listdir(f'/proc/{pid}/task'):
      children = pathlib.Path(f'/proc/{pid}/task/{task}/children').read_text()
      total += sum(_tree_bytes(int(child)) for child in children.split())
  except (FileNotFoundError, ProcessLookupError):
    pass
  return total


def write_music(root: pathlib.Path, seconds: float, num_artists: int) -> None:
  """Writes part of the synthetic corpus as `<root>/<genre>/<name>.mp3`.

  Args:
    root: the folder; tracks that it has already are not written again.
    seconds: the length of each track.
    num_artists: the number of artists, with two tracks each, in each of two
      genres.
  """
  config = base_config()
  sizes = config.data.synthetic
  sizes.num_artists, sizes.tracks_per_artist = num_artists, 2
  sizes.duration_s = seconds
  for track in synthetic.list_tracks(config.data):
    if track.genre in synthetic.GENRES[:2]:
      name = track.track_id.removeprefix('synthetic/').split('/', 1)[1]
      path = root / track.genre / f'{name.replace("/", "-")}.mp3'
      if path.exists():
        continue
      path.parent.mkdir(parents=True, exist_ok=True)
      soundfile.write(path, synthetic.render(track.path, 44100), 44100)


def main() -> None:
  """Prints the ratio, then the peak memory."""
  flags = parser(__doc__)
  flags.add_argument('--root', type=pathlib.Path, help='<root>/*/*.mp3')
  flags.add_argument('--rounds', type=int, default=3)
  flags.add_argument('--max_tracks', type=int)
  args = flags.parse_args()
  rounds = 1 if args.toy else args.rounds
  with tempfile.TemporaryDirectory() as folder:
    root = (args.root or pathlib.Path(folder)).resolve()
    if not args.root:
      write_music(root, *((3.0, 2) if args.toy else (30.0, 15)))
    _compare(root, rounds, args.max_tracks, args.toy, args.json)


def _compare(
  root: pathlib.Path,
  rounds: int,
  max_tracks: int | None,
  toy: bool,
  json_path: pathlib.Path | None,
) -> None:
  paths = sorted(root.glob('*/*.mp3'))[:max_tracks]
  methods = ('librosa', 'mgc_jax')
  few = [] if toy else paths[:_WARM_UP_TRACKS]
  if few:
    for method in methods:
      seconds_of(method, few)  # imports, compilation

  def net_s(method: str) -> float:
    whole = seconds_of(method, paths)
    return whole - seconds_of(method, few) if few else whole

  calls = {method: functools.partial(net_s, method) for method in methods}
  seconds = in_turn(calls, rounds)
  result = {
    'ratio': ratio(seconds['librosa'], seconds['mgc_jax']),
    'num_tracks': len(paths),
    'seconds': {method: spread(x) for method, x in seconds.items()},
    'peak_gib': peak_gib(root),
  }
  print(
    f'{len(paths)} tracks: mgc_jax with 2 processes '
    f'{format_ratio(result["ratio"])} as fast as a librosa loop in one process'
  )
  print(f'peak memory of the whole preparation: {result["peak_gib"]:.2f} GiB')
  write_results(result, json_path)


if __name__ == '__main__':
  main()
