"""The flags of commands that can classify files on a cluster."""

import argparse
import pathlib
from typing import TYPE_CHECKING

from mgc_jax.cluster import flags
from mgc_jax.system.arguments import Parser
from mgc_jax.system.errors import ConfigError

if TYPE_CHECKING:
  from mgc_jax.inference.cluster import Cluster


def add_flags(parser: Parser, default: str = '') -> None:
  """Adds `--scheduler` and `--parts`.

  Args:
    parser: of the command.
    default: where parts are without `--parts`, for the help; empty if the flag
      is required.
  """
  flags.add_scheduler(parser)
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
  from mgc_jax.inference.cluster import Cluster  # not needed for --help

  return Cluster(args.scheduler, folder.absolute(), model, args.engine)
