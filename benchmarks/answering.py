"""Times the classification of a song and of a folder.

Times `python -m mgc_jax.predict SONG` in a new process, stage by stage, after
a first call on the machine; and a folder in a warm process on one core and on
all, compared with only decoding the same files. All engines that are installed
are measured.

  python -m benchmarks.answering --root=$DATA/emotify_mp3
"""

import concurrent.futures
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from benchmarks.preparation import write_music
from mgc_jax.inference import engines
from mgc_jax.inference.onnx_model import runtimes
from mgc_jax.inference.pretrained import BEST

_STAGES = ('python', 'imports', 'model', 'decode', 'answer')


def _stages(path: str, model: str, engine: str) -> dict[str, float]:
  """Classifies a song in a new process; returns seconds by stage."""
  command = [sys.executable, '-m', 'benchmarks.answering', f'--song={path}']
  start_s = time.time()
  done = subprocess.run(
    [*command, f'--model={model}', f'--engine={engine}'],
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  times = [start_s, *json.loads(done.stdout)]
  return {name: times[i + 1] - times[i] for i, name in enumerate(_STAGES)}


def _predict_once(path: str, model: str, engine: str) -> None:
  """Runs in the child process: prints when each stage of `predict` ended."""
  times = [time.time()]
  from mgc_jax import predict  # noqa: F401
  from mgc_jax.inference import loading
  from mgc_jax.inference.classifier import DecodedExcerpts

  times.append(time.time())
  loaded = loading.load(model, owns_process=True, engine=engine)
  times.append(time.time())
  streamed = loaded.excerpts(path)
  excerpts = DecodedExcerpts(tuple(streamed), streamed.duration_s, '')
  times.append(time.time())
  loaded.predict_excerpts(path, excerpts)
  times.append(time.time())
  print(json.dumps(times))


def _command_s(path: str, model: str, engine: str) -> float:
  """Returns the duration of the whole command."""
  command = [sys.executable, '-m', 'mgc_jax.predict', path]
  command += [f'--model={model}', f'--engine={engine}']
  start_s = time.perf_counter()
  subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
  return time.perf_counter() - start_s


def _folder(
  paths: list[str], model: str, engine: str, num_cores: int, rounds: int
) -> None:
  """Runs in the child process: times predicting and decoding."""
  if hasattr(os, 'sched_setaffinity'):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-num_cores:])
  from mgc_jax.audio.decode import decoded
  from mgc_jax.audio.probe import probe
  from mgc_jax.inference import loading, prefetch

  loaded = loading.load(model, owns_process=True, engine=engine)
  audio_s = sum(probe(path).duration_s for path in paths)

  def predict() -> float:
    start_s = time.perf_counter()
    with prefetch.ahead(loaded, paths) as predictions:
      for path, found in predictions:
        if isinstance(found, Exception):
          raise RuntimeError(f'{path}: {found}')
    return audio_s / (time.perf_counter() - start_s)

  def decode() -> float:
    start_s = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(num_cores) as pool:
      for _ in pool.map(decoded, paths):
        pass
    return audio_s / (time.perf_counter() - start_s)

  loaded.predict(paths[0])
  print(json.dumps(in_turn({'predict': predict, 'decode': decode}, rounds)))


def _speeds(
  paths: list[str], model: str, engine: str, num_cores: int, rounds: int
) -> dict[str, list[float]]:
  done = subprocess.run(
    [sys.executable, '-m', 'benchmarks.answering', f'--folder={num_cores}']
    + [f'--model={model}', f'--engine={engine}', f'--rounds={rounds}'],
    input=json.dumps(paths),
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  return json.loads(done.stdout)


def measure(
  paths: list[str], model: str, chosen: Sequence[str], rounds: int
) -> dict:
  """Measures a model with each engine.

  Args:
    paths: audio files; the first one is also classified alone.
    model: a value of --model.
    chosen: values of --engine.
    rounds: the number of repetitions.

  Returns:
    For each engine `command_s`, `stages_s`, the ratio `command` to the first
    engine; and for one core and for all, `real_time_factor`, `of_decoding` and
    the ratio `speed` to the first engine.
  """
  song, results = paths[0], {}
  for engine in chosen:
    _command_s(song, model, engine)  # the first call compiles the program
  commands = in_turn(
    {x: functools.partial(_command_s, song, model, x) for x in chosen}, rounds
  )
  num_cores = len(os.sched_getaffinity(0))
  folders: dict[int, dict] = {}
  for count in sorted({1, num_cores}):
    folders[count] = {
      x: _speeds(paths, model, x, count, rounds) for x in chosen
    }
  for engine in chosen:
    rows = [_stages(song, model, engine) for _ in range(rounds)]
    results[engine] = {
      'command_s': spread(commands[engine]),
      'stages_s': {s: spread([row[s] for row in rows]) for s in _STAGES},
      'command': ratio(commands[engine], commands[chosen[0]]),
      'folder': {
        count: {
          'real_time_factor': spread(speeds[engine]['predict']),
          'of_decoding': ratio(
            speeds[engine]['predict'], speeds[engine]['decode']
          ),
          'speed': ratio(
            speeds[engine]['predict'], speeds[chosen[0]]['predict']
          ),
        }
        for count, speeds in folders.items()
      },
    }
  return results


def main() -> None:
  """Prints the stages and ratios."""
  flags = parser(__doc__)
  flags.add_argument(
    '--root', type=pathlib.Path, help='folder with <root>/*/*.mp3'
  )
  flags.add_argument('--model', default=BEST)
  flags.add_argument('--rounds', type=int, default=5)
  flags.add_argument('--song', help='internal: classify this file once')
  flags.add_argument('--engine', help='internal: of --song and --folder')
  flags.add_argument(
    '--folder',
    type=int,
    help='internal: classify the JSON list of files on standard input with so '
    'many cores',
  )
  args = flags.parse_args()
  if args.song:
    _predict_once(args.song, args.model, args.engine)
    return
  if args.folder:
    _folder(
      json.load(sys.stdin), args.model, args.engine, args.folder, args.rounds
    )
    return
  with tempfile.TemporaryDirectory() as folder:
    root = args.root or pathlib.Path(folder) / 'music'
    if not args.root:
      write_music(root, *((3.0, 1) if args.toy else (30.0, 15)))
    paths = [str(path) for path in sorted(root.glob('*/*.mp3'))[:60]]
    chosen = [engines.JAX]
    if not args.toy:
      chosen += filter(runtimes.is_installed, runtimes.RUNTIMES)
    found = measure(paths, args.model, chosen, 1 if args.toy else args.rounds)
  for name, row in found.items():
    _print_results(name, row, len(paths))
  write_results({'engines': found}, args.json)


def _print_results(engine: str, found: dict, num_tracks: int) -> None:
  stages = [f'{s} {x["median"]:.2f}' for s, x in found['stages_s'].items()]
  print(
    f'{engine}: one song in a new process {found["command_s"]["median"]:.2f} s '
    f'({", ".join(stages)}), {format_ratio(found["command"])} of jax'
  )
  for count, row in found['folder'].items():
    print(
      f'  {num_tracks} tracks on {count} cores, warm: '
      f'{row["real_time_factor"]["median"]:.0f} x real time, '
      f'{format_ratio(row["of_decoding"])} the speed of decoding alone, '
      f'{format_ratio(row["speed"])} the speed of jax'
    )


if __name__ == '__main__':
  main()
