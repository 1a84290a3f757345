"""Defines the flags that several commands for experiments have in common."""

from mgc_jax.system.arguments import Parser, comma_list

CONFIGS = 'configs'  # the default of `--configs`


def add_seeds(parser: Parser, default: list[str]) -> None:
  """Adds `--seeds`, which `sweep.runner.parse_seeds` converts to numbers."""
  parser.add_argument(
    '--seeds',
    type=comma_list,
    default=default,
    metavar='N,...',
    help='Random seeds; each setting is trained with each of them.',
  )


def add_workdir(
  parser: Parser,
  default: str | None,
  text: str = 'Folder of all runs; they are resumed.',
) -> None:
  """Adds `--workdir`, the folder that has a subfolder for each run.

  Args:
    parser: receives the flag.
    default: None if the command derives it from the settings.
    text: the help of the flag.
  """
  parser.add_argument('--workdir', default=default, metavar='DIR', help=text)


def add_workdirs(parser: Parser, text: str, flag: str = '--workdirs') -> None:
  """Adds a flag that takes the folders of finished runs.

  Args:
    parser: receives the flag.
    text: the help of the flag.
    flag: its name, with the dashes.
  """
  parser.add_argument(
    flag, type=comma_list, required=True, metavar='DIR,...', help=text
  )


def add_left_out(parser: Parser, required: bool, more: str = '') -> None:
  """Adds `--left_out`, the collections that are left out in turn.

  Args:
    parser: receives the flag.
    required: whether the command needs it; otherwise the default is none.
    more: what the help adds.
  """
  parser.add_argument(
    '--left_out',
    type=comma_list,
    default=[],
    required=required,
    metavar='NAME,...',
    help='Collections to leave out, one after another: the names of the '
    f'folders of their manifests{more}.',
  )


def add_configs(parser: Parser) -> None:
  """Adds `--configs`, for commands that train several networks."""
  parser.add_argument(
    '--configs',
    default=CONFIGS,
    metavar='DIR',
    help='Folder of the config files; without one, those of the package.',
  )
