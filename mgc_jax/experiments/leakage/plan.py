"""Which runs the ladder consists of."""

import itertools
import pathlib

from mgc_jax.experiments.sweep.plan import Run, split_override
from mgc_jax.system.errors import ConfigError

PROTOCOLS = ('window', 'track', 'artist')
# By their config files.
NETWORKS = (
  'baseline/cnn',
  'baseline/lstm',
  'baseline/crnn',
  'cnn',
  'lstm',
  'crnn',
)
# Windows of 6 s, half overlapping, as the seed's; frames as those ready-made.
_ALL = {
  'data.examples': 'window',
  'data.valid_fraction': '0.0',
  'features.hop_samples': '512',
  'features.frames_per_s': '12.9',
  'features.max_frames': '387',
  'features.scaling': 'range',
  'features.excerpt_s': '31.0',
  'windows.num_frames': '77',
  'windows.hop_frames': '38',
  'windows.num_windows': '1',
  'train.num_epochs': '15',
  'train.select': 'last',
  'train.patience_epochs': '0',
  'train.checkpoint_every_steps': '0',
}
# Of so few frames the seed's blocks would leave nothing.
_SEED_S = {
  'model.cnn.padding': 'SAME',
  'model.cnn.pool_frames': '(2,2,2,2,2)',
  'model.cnn.pool_bands': '(2,2,2,2,2)',
}
_LADDER_S = ('seed', 'data.split_seed', 'data.protocol', 'data.test_fraction')
# One member, as the seed's are no ensembles, and its windows: 16 excerpts of 4.
_OURS = {'model.num_members': '1', 'train.batch_size': '64'}


def plan_ladder(
  networks: list[str],
  seeds: list[int],
  overrides: list[str],
  workdir: pathlib.Path,
  test_fraction: float,
  artist_split: str,
) -> dict[tuple[str, str], list[Run]]:
  """Returns the runs of each network and protocol.

  Args:
    networks: of `NETWORKS`.
    seeds: of each; a random split has the seed of its run.
    overrides: `--config.FIELD=VALUE`, of all runs, over what the ladder sets.
    workdir: of the ladder; each run has a folder in it.
    test_fraction: of the tracks, of random splits.
    artist_split: `random`, or `given`.

  Raises:
    ConfigError: a network or seed is missing, unknown or named twice, or an
      override has no value or is of what the ladder sets.
  """
  unknown = set(networks) - set(NETWORKS)
  if unknown:
    raise ConfigError(
      f'--networks={",".join(sorted(unknown))}: must be of '
      + ', '.join(NETWORKS)
    )
  for flag, values in (('networks', networks), ('seeds', seeds)):
    if not values or len(set(values)) < len(values):
      raise ConfigError(f'--{flag}: names none, or one twice')
  given = {}
  for override in overrides:
    name, value = split_override(override)
    if name in _LADDER_S:
      raise ConfigError(f'{override}: the ladder sets it; see --help')
    given[name] = value
  found: dict[tuple[str, str], list[Run]] = {}
  for network, protocol in itertools.product(networks, PROTOCOLS):
    leads_to_given = protocol == 'artist' and artist_split == 'given'
    fields = {
      **_ALL,
      **(_SEED_S if network.startswith('baseline/') else _OURS),
      'data.protocol': 'given' if leads_to_given else protocol,
      'data.test_fraction': str(test_fraction),
    }
    found[network, protocol] = [
      _run(network, seed, {**fields, **given}, workdir, protocol)
      for seed in seeds
    ]
  return found


def _run(
  network: str,
  seed: int,
  fields: dict[str, str],
  workdir: pathlib.Path,
  protocol: str,
) -> Run:
  fields = {**fields, 'data.split_seed': str(seed), 'seed': str(seed)}
  return Run(
    network,
    seed,
    tuple(f'--config.{name}={value}' for name, value in fields.items()),
    workdir / f'{network.replace("/", "-")}-{protocol}-seed{seed}',
  )
