"""Shows every field of the configuration: its value, unit and meaning.

Without --config the defaults are shown.

Examples:
  mgc config
  mgc config --config=configs/crnn.py --config.train.num_epochs=5
"""

import argparse

from mgc_jax.system.arguments import Command, Parser


def _add_arguments(parser: Parser) -> None:
  parser.add_config(required=False)


def _run(args: argparse.Namespace) -> None:
  from mgc_jax.config.flags import load_config
  from mgc_jax.config.schema import describe, validate

  config = load_config(args.config, args.overrides)
  validate(config)
  print(describe(config))


COMMAND = Command(__doc__, _add_arguments, _run)
