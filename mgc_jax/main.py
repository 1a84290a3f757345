r"""Trains a music genre classifier and evaluates it, from audio to result.

If no data source is given, the embedded synthetic corpus is used. Running the
same command again continues an interrupted run, or prints the result of a
finished one. A finished run in --workdir whose learning rate is constant
(--config.train.schedule=constant) continues if it is given more epochs.

With --distributed the same command is started once per process, on one machine
or several that share --workdir. On SLURM and TPU VMs the processes are
detected; elsewhere set --coordinator, --num_processes and --process_id.

Examples:
  mgc train --config=configs/crnn.py
  mgc train --config=configs/cnn.py --workdir=runs/mine \
    --config.data.source=folder --config.data.root=/music
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from mgc_jax.system import command_line
from mgc_jax.system.arguments import CONTINUES, Command, Parser, whole_number

if TYPE_CHECKING:
  from ml_collections import ConfigDict

# The workers that decode start from this module: it imports nothing heavy.

_EVALUATE = r"""Evaluates the model of a finished run on other data.

Examples:
  mgc evaluate --config=configs/cnn.py --workdir=runs/mine \
    --config.data.source=manifest --config.data.manifest=a.csv
"""


def _add_arguments(parser: Parser) -> None:
  parser.add_config()
  parser.add_argument(
    '--workdir',
    metavar='DIR',
    help='Folder of the run: config, checkpoints, bundle, metrics, plots, '
    'results. Default: runs/<config>-<digest of the configuration>.',
  )
  parser.add_argument(
    '--distributed',
    action='store_true',
    help='This is one of several processes.',
  )
  parser.add_argument(
    '--coordinator',
    metavar='HOST:PORT',
    help='host:port of process 0. Default: detected from the cluster.',
  )
  parser.add_argument(
    '--num_processes',
    type=whole_number(1),
    metavar='N',
    help='Number of processes. Default: detected from the cluster.',
  )
  parser.add_argument(
    '--process_id',
    type=whole_number(0),
    metavar='N',
    help='Index of this process, from 0. Default: detected from the cluster.',
  )


def _add_mode(parser: Parser) -> None:
  _add_arguments(parser)
  parser.add_argument(
    '--mode',
    choices=['train', 'evaluate'],
    default='train',
    help='train: trains, then evaluates; evaluate: the bundle of --workdir on '
    'the specified data.',
  )


def _run(args: argparse.Namespace) -> None:
  """Trains or evaluates, alone or as one of several processes."""
  from mgc_jax.config.flags import load_config
  from mgc_jax.system import jax_runtime

  config = load_config(args.config, args.overrides)
  jax_runtime.set_up()
  if not args.distributed:
    _train_or_evaluate(args, config)
    return
  from mgc_jax.distributed import processes

  # First of all: nothing may touch a device before the processes are connected.
  processes.join(args.coordinator, args.num_processes, args.process_id)
  with processes.leaving_at_once():
    _train_or_evaluate(args, config)


def _train_or_evaluate(args: argparse.Namespace, config: 'ConfigDict') -> None:
  from mgc_jax.system import jax_runtime
  from mgc_jax.training import experiment
  from mgc_jax.training.workdir import resolve_workdir

  jax_runtime.check_device()  # before hours of preparing
  workdir = resolve_workdir(args.workdir, config, args.config, args.mode)
  if args.mode == 'train':
    experiment.train_and_evaluate(config, workdir)
  else:
    experiment.evaluate_only(config, workdir)


def _in_mode(mode: str) -> Callable[[argparse.Namespace], None]:
  return lambda args: _run(argparse.Namespace(**vars(args), mode=mode))


TRAIN = Command(__doc__, _add_arguments, _in_mode('train'), CONTINUES)
EVALUATE = Command(_EVALUATE, _add_arguments, _in_mode('evaluate'))

if __name__ == '__main__':
  command_line.run(
    Command(__doc__, _add_mode, _run, CONTINUES), 'python -m mgc_jax.main'
  )
