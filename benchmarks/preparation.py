"""Preparing real music against a plain librosa loop; peak memory.

Both do the same work: load at one rate, the middle 30 s, log-mels, float16 on
disk. The time of the first tracks is subtracted on both sides, which leaves
out process start and compilation.

  python -m benchmarks.preparation --root=$DATA/emotify_mp3
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import librosa
import numpy as np

from mgc_jax.config import base_config
from mgc_jax.datasets.prepare import prepare

_WARM_UP_TRACKS = 2
_WINDOW_FRAMES = 128


def librosa_loop(paths: list[pathlib.Path], out: pathlib.Path) -> None:
  """What a user would write: one process, mel windows, one file a track."""
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
  """Times one method over the tracks, in a fresh folder."""
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder)
    config = base_config()
    config.data.source, config.data.manifest = 'manifest', str(out / 'm.csv')
    config.data.root = '/'
    config.data.prepared_dir = folder
    config.data.num_workers = 2
    rows = [f'{path},{i},{path.parent.name}' for i, path in enumerate(paths)]
    text = 'path,track_id,genre\n' + '\n'.join(rows) + '\n'
    (out / 'm.csv').write_text(text)
    start_s = time.perf_counter()
    if method == 'librosa':
      librosa_loop(paths, out)
    else:
      prepare(config)
    return time.perf_counter() - start_s


def peak_gib(root: pathlib.Path) -> float:
  """Runs the command line and samples the memory of all its processes."""
  with tempfile.TemporaryDirectory() as folder:
    process = subprocess.Popen(
      [
        *(sys.executable, '-m', 'mgc_jax.datasets.prepare'),
        *('--config=configs/cnn.py', '--config.data.source=folder'),
        *(f'--config.data.root={root}', '--config.data.num_workers=2'),
        f'--config.data.prepared_dir={folder}',
      ],
      stdout=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
      peak = max(peak, _tree_bytes(process.pid))
      time.sleep(0.1)
    if process.returncode:
      raise RuntimeError('preparation failed')
  return peak / 2**30


def _tree_bytes(pid: int) -> int:
  """Sums proportional set sizes (Linux), so that sharing counts once."""
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


def main() -> None:
  """Prints the ratio, then the peak."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--root', type=pathlib.Path, required=True)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--max_tracks', type=int)
  args = parser.parse_args()
  root = args.root.resolve()
  paths = sorted(root.glob('*/*.mp3'))[: args.max_tracks]
  net_s = {'librosa': [], 'mgc_jax': []}
  for method in net_s:
    seconds_of(method, paths[:_WARM_UP_TRACKS])  # imports, compilation
  for _ in range(args.rounds):
    for method, found in net_s.items():
      whole = seconds_of(method, paths)
      found.append(whole - seconds_of(method, paths[:_WARM_UP_TRACKS]))
  medians = {method: float(np.median(found)) for method, found in net_s.items()}
  result = {
    'ratio': medians['librosa'] / medians['mgc_jax'],
    'ratios': np.divide(net_s['librosa'], net_s['mgc_jax']).tolist(),
    'num_tracks': len(paths),
    'seconds': medians,
    'peak_gib': peak_gib(root),
  }
  print(f'mgc_jax, 2 processes, is {result["ratio"]:.2f} x as fast as a')
  print('one-process librosa loop doing the same work')
  print(f'peak memory of the whole preparation: {result["peak_gib"]:.2f} GiB')
  print(json.dumps(result))


if __name__ == '__main__':
  main()
