"""The flag of commands that can use a cluster."""

from mgc_jax.system.arguments import Parser


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
