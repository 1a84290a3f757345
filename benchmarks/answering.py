"""Times the classification of a song and of a folder.

Times `python -m mgc_jax.predict SONG` in a new process, stage by stage, after
a first call on the machine; and a folder in a warm process on one core,
compared with only decoding the same files.

  python -m benchmarks.answering --root=$DATA/emotify_mp3
"""

import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks.measure import (
  format_ratio,
  in_turn,
  parser,
  ratio,
  spread,
  write_results,
)
from benchmarks.preparation import write_music
from mgc_jax.inference.pretrained import BEST

_STAGES = ('python', 'imports', 'model', 'decode', 'answer')


def _stages(path: str, model: str) -> dict[str, float]:
  """Classifies a song in a new process; returns seconds by stage."""
  command = [sys.executable, '-m', 'benchmarks.answering', f'--model={model}']
  start_s = time.time()
  done = subprocess.run(
    [*command, f'--song={path}'], stdout=subprocess.PIPE, check=True, text=True
  )
  times = [start_s, *json.loads(done.stdout)]
  return {name: times[i + 1] - times[i] for i, name in enumerate(_STAGES)}


def _predict_once(path: str, model: str) -> None:
  """Runs in the child process: prints when each stage of `predict` ended."""
  times = [time.time()]
  from mgc_jax import predict  # noqa: F401
  from mgc_jax.inference import loading
  from mgc_jax.inference.classifier import DecodedExcerpts

  times.append(time.time())
  loaded = loading.load(model, owns_process=True)
  times.append(time.time())
  streamed = loaded.excerpts(path)
  excerpts = DecodedExcerpts(tuple(streamed), streamed.duration_s, '')
  times.append(time.time())
  loaded.predict_excerpts(path, excerpts)
  times.append(time.time())
  print(json.dumps(times))


def _command_s(path: str, model: str) -> float:
  """Returns the duration of the whole command."""
  command = [sys.executable, '-m', 'mgc_jax.predict', f'--model={model}', path]
  start_s = time.perf_counter()
  subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
  return time.perf_counter() - start_s


def _folder(paths: list[str], model: str, rounds: int) -> None:
  """Runs in the child process: times predicting and decoding on one core."""
  if hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  from mgc_jax.audio.decode import decoded
  from mgc_jax.audio.probe import probe
  from mgc_jax.inference import loading, prefetch

  loaded = loading.load(model, owns_process=True)
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
    for path in paths:
      decoded(path)
    return audio_s / (time.perf_counter() - start_s)

  loaded.predict(paths[0])
  print(json.dumps(in_turn({'predict': predict, 'decode': decode}, rounds)))


def _speeds(
  paths: list[str], model: str, rounds: int
) -> dict[str, list[float]]:
  done = subprocess.run(
    [sys.executable, '-m', 'benchmarks.answering', '--folder']
    + [f'--model={model}', f'--rounds={rounds}'],
    input=json.dumps(paths),
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  return json.loads(done.stdout)


def measure(paths: list[str], models: dict[str, str], rounds: int) -> dict:
  """Measures each model.

  Args:
    paths: audio files; the first one is also classified alone.
    models: values of --model, by name.
    rounds: the number of repetitions.

  Returns:
    For each name `command_s`, `stages_s`, `real_time_factor`, `of_decoding`,
    and the ratios `command` and `speed` to the first model.
  """
  song, results = paths[0], {}
  for model in models.values():
    _command_s(song, model)  # the first call compiles the program
  commands = in_turn(
    {n: functools.partial(_command_s, song, m) for n, m in models.items()},
    rounds,
  )
  first = next(iter(models))
  speeds = {}
  for name, model in models.items():
    rows = [_stages(song, model) for _ in range(rounds)]
    speeds[name] = _speeds(paths, model, rounds)
    results[name] = {
      'command_s': spread(commands[name]),
      'stages_s': {s: spread([row[s] for row in rows]) for s in _STAGES},
      'real_time_factor': spread(speeds[name]['predict']),
      'of_decoding': ratio(speeds[name]['predict'], speeds[name]['decode']),
      'command': ratio(commands[name], commands[first]),
      'speed': ratio(speeds[name]['predict'], speeds[first]['predict']),
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
  flags.add_argument(
    '--folder',
    action='store_true',
    help='internal: classify the JSON list of files on standard input',
  )
  args = flags.parse_args()
  if args.song:
    _predict_once(args.song, args.model)
    return
  if args.folder:
    _folder(json.load(sys.stdin), args.model, args.rounds)
    return
  with tempfile.TemporaryDirectory() as folder:
    root = args.root or pathlib.Path(folder) / 'music'
    if not args.root:
      write_music(root, *((3.0, 1) if args.toy else (30.0, 15)))
    paths = [str(path) for path in sorted(root.glob('*/*.mp3'))[:60]]
    models = {'JAX': args.model}
    if importlib.util.find_spec('jax2onnx') and not args.toy:
      models['ONNX'] = f'{folder}/model.onnx'
      export = [
        sys.executable,
        '-m',
        'mgc_jax',
        'export',
        '--format=onnx',
      ]
      names = [f'--model={args.model}', f'--to={models["ONNX"]}']
      subprocess.run([*export, *names], check=True)
    found = measure(paths, models, 1 if args.toy else args.rounds)
  for name, row in found.items():
    _print_results(name, row, len(paths))
  write_results({'models': found}, args.json)


def _print_results(name: str, found: dict, num_tracks: int) -> None:
  stages = [f'{s} {x["median"]:.2f}' for s, x in found['stages_s'].items()]
  command, speed = found['command_s'], found['real_time_factor']
  print(
    f'{name}: one song in a new process {command["median"]:.2f} s '
    f'({", ".join(stages)})\n'
    f'  {num_tracks} tracks on one core, warm: {speed["median"]:.0f} x real '
    f'time, {format_ratio(found["of_decoding"])} the speed of decoding alone\n'
    f'  compared with JAX: the command takes {format_ratio(found["command"])}, '
    f'the speed of a folder is {format_ratio(found["speed"])}'
  )


if __name__ == '__main__':
  main()
