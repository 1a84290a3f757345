"""The flags of commands that can use a cluster."""

import argparse
import pathlib
from typing import TYPE_CHECKING

from mgc_jax.system.arguments import Parser
from mgc_jax.system.errors import ConfigError

if TYPE_CHECKING:
  from mgc_jax.cluster.prediction import Cluster


def add_scheduler(parser: Parser) -> None:
  """Adds the flag `--scheduler`.

  Args:
    parser: of the command.
  """
  parser.add_argument(
    '--scheduler',
    metavar='ADDRESS',
    help='Work on the machines of a Dask cluster, such as tcp://HOST:8786, '
    'which share a disk; see launch/dask.sh. Needs the extra: pip install '
    "'mgc_jax[cluster]'.",
  )


def add_prediction(parser: Parser, default: str = '') -> None:
  """Adds `--scheduler` and `--parts`.

  Args:
    parser: of the command.
    default: where parts are without `--parts`, for the help; empty if the flag
      is required.
  """
  add_scheduler(parser)
  parser.add_argument(
    '--parts',
    metavar='DIR',
    help='With --scheduler: a folder on the shared disk for what the workers '
    'have finished, which the same command uses if it is started again. '
    + (f'Default: {default}.' if default else 'Required.'),
  )


def cluster_of(
  args: argparse.Namespace, model: str, default: pathlib.Path | None = None
) -> 'Cluster | None':
  """Returns the cluster that the flags name; None if they name none.

  Args:
    args: with `scheduler`, `parts` and `engine`.
    model: what the workers load.
    default: the folder of the parts without `--parts`; None if it is required.

  Raises:
    ConfigError: `--parts` is missing, or given without `--scheduler`.
  """
  if not args.scheduler:
    if args.parts:
      raise ConfigError('--parts: only used with --scheduler')
    return None
  folder = pathlib.Path(args.parts) if args.parts else default
  if folder is None:
    raise ConfigError(
      '--scheduler: also needs --parts=DIR, a folder on a disk that all hosts '
      'share'
    )
  from mgc_jax.cluster.prediction import Cluster  # not needed for --help

  return Cluster(args.scheduler, folder.absolute(), model, args.engine)
