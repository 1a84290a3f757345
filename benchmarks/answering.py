"""How soon a song is answered for, and how fast a folder is.

The start of `python -m mgc_jax.predict SONG` in a fresh process, stage by
stage, as on any but the first call on a machine; and a folder in a warm process
on one core, beside the floor: decoding the same files and nothing else.

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

from benchmarks.measure import in_turn, parser, ratio, spread, tell, told
from benchmarks.preparation import write_music
from mgc_jax.inference.pretrained import BEST

_STAGES = ('python', 'imports', 'model', 'decode', 'answer')


def _stages(path: str, model: str) -> dict[str, float]:
  """Answers once in a fresh process; returns seconds by stage and in all."""
  command = [sys.executable, '-m', 'benchmarks.answering', f'--model={model}']
  start_s = time.time()
  done = subprocess.run(
    [*command, f'--song={path}'], stdout=subprocess.PIPE, check=True, text=True
  )
  times = [start_s, *json.loads(done.stdout)]
  return {name: times[i + 1] - times[i] for i, name in enumerate(_STAGES)}


def _answer_once(path: str, model: str) -> None:
  """The child: does as `predict` does, and says when each stage ended."""
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
  """Returns how long the whole command takes."""
  command = [sys.executable, '-m', 'mgc_jax.predict', f'--model={model}', path]
  start_s = time.perf_counter()
  subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
  return time.perf_counter() - start_s


def _folder(paths: list[str], model: str, rounds: int) -> None:
  """The child: answers for a folder, and decodes it, on one core, warm."""
  if hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  from mgc_jax.audio.decode import decoded
  from mgc_jax.audio.probe import probe
  from mgc_jax.inference import loading, prefetch

  loaded = loading.load(model, owns_process=True)
  audio_s = sum(probe(path).duration_s for path in paths)

  def answer() -> float:
    start_s = time.perf_counter()
    with prefetch.ahead(loaded, paths) as answers:
      for path, found in answers:
        if isinstance(found, Exception):
          raise RuntimeError(f'{path}: {found}')
    return audio_s / (time.perf_counter() - start_s)

  def decode() -> float:
    start_s = time.perf_counter()
    for path in paths:
      decoded(path)
    return audio_s / (time.perf_counter() - start_s)

  loaded.predict(paths[0])
  print(json.dumps(in_turn({'answer': answer, 'decode': decode}, rounds)))


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
    paths: of songs; the first is answered for alone.
    models: names and what --model takes.
    rounds: how often.

  Returns:
    By name `command_s`, `stages_s`, `real_time_factor`, `of_decoding`; and the
    ratios `command` and `speed` of each model to the first.
  """
  song, results = paths[0], {}
  for model in models.values():
    _command_s(song, model)  # the first on a machine makes the program
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
      'real_time_factor': spread(speeds[name]['answer']),
      'of_decoding': ratio(speeds[name]['answer'], speeds[name]['decode']),
      'command': ratio(commands[name], commands[first]),
      'speed': ratio(speeds[name]['answer'], speeds[first]['answer']),
    }
  return results


def main() -> None:
  """Prints stages and ratios."""
  flags = parser(__doc__)
  flags.add_argument('--root', type=pathlib.Path, help='<root>/*/*.mp3')
  flags.add_argument('--model', default=BEST)
  flags.add_argument('--rounds', type=int, default=5)
  flags.add_argument('--song', help='a file: answer for it, say when')
  flags.add_argument(
    '--folder',
    action='store_true',
    help='answer for a JSON list on standard input',
  )
  args = flags.parse_args()
  if args.song:
    _answer_once(args.song, args.model)
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
        'mgc_jax.inference.export',
        '--format=onnx',
      ]
      names = [f'--model={args.model}', f'--to={models["ONNX"]}']
      subprocess.run([*export, *names], check=True)
    found = measure(paths, models, 1 if args.toy else args.rounds)
  for name, its in found.items():
    _tell(name, its, len(paths))
  tell({'models': found}, args.json)


def _tell(name: str, its: dict, num_tracks: int) -> None:
  stages = [f'{s} {x["median"]:.2f}' for s, x in its['stages_s'].items()]
  command, speed = its['command_s'], its['real_time_factor']
  print(
    f'{name}: one song in a fresh process {command["median"]:.2f} s '
    f'({", ".join(stages)})\n'
    f'  {num_tracks} tracks on one core, warm: {speed["median"]:.0f} x real '
    f'time, {told(its["of_decoding"])} the speed of decoding alone\n'
    f'  against JAX: the command takes {told(its["command"])}, a folder goes '
    f'{told(its["speed"])} as fast'
  )


if __name__ == '__main__':
  main()
