"""Runs the benchmarks that generate their own data, each in its own process.

  python -m benchmarks --toy
  python -m benchmarks --to=figures

Results are printed, and with --to also written to a JSON file per benchmark.
Comparisons with other frameworks need an extra: pip install torch==2.13.0
(PyTorch's CPU build), then pip install -e '.[bench]'. On an accelerator:
--only=accelerator. For your own music, with --root=DIR: benchmarks.preparation,
benchmarks.collection_cost and benchmarks.similarity.
"""

import argparse
import pathlib
import subprocess
import sys
import time

ALL = (
  'step',
  'convolution',
  'profile',
  'input_pipeline',
  'startup',
  'training',
  'answering',
  'encoder',
  'neighbours',
  'preparation',
  'preparation_stages',
  'growth',
  'cluster',
)
ON_ACCELERATORS = ('accelerator',)


def main() -> int:
  """Runs the benchmarks; returns 1 if one failed."""
  parser = argparse.ArgumentParser(
    prog='python -m benchmarks',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    '--toy', action='store_true', help='tiny sizes, with meaningless results'
  )
  parser.add_argument('--to', type=pathlib.Path, help='folder for the results')
  parser.add_argument(
    '--only',
    help='comma-separated list, from ' + ', '.join(ALL + ON_ACCELERATORS),
  )
  args = parser.parse_args()
  names = ALL + ON_ACCELERATORS if args.toy else ALL
  if args.only:
    names = args.only.split(',')
    if unknown := set(names) - {*ALL, *ON_ACCELERATORS}:
      parser.error(f'--only: no benchmark is called {", ".join(unknown)}')
  if args.to:
    args.to.mkdir(parents=True, exist_ok=True)
  failed = []
  for name in names:
    command = [sys.executable, '-m', f'benchmarks.{name}']
    command += ['--toy'] * args.toy
    if args.to:
      command.append(f'--json={args.to / name}.json')
    print(f'== {name}', flush=True)
    start_s = time.monotonic()
    if subprocess.run(command, check=False).returncode:
      failed.append(name)
    print(f'== {name}: {time.monotonic() - start_s:.0f} s\n', flush=True)
  if failed:
    print(f'failed: {", ".join(failed)}', file=sys.stderr)
  return bool(failed)


if __name__ == '__main__':
  sys.exit(main())
