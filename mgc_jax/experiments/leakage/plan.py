"""Plans the runs of the leakage study."""

import itertools
import pathlib

from mgc_jax.experiments.sweep.plan import Run, split_override
from mgc_jax.system.errors import ConfigError

PROTOCOLS = ('window', 'track', 'artist')
# Named after their config files.
NETWORKS = (
  'baseline/cnn',
  'baseline/lstm',
  'baseline/crnn',
  'cnn',
  'lstm',
  'crnn',
)
# Windows of 6 s that overlap by half, as in the baseline, and frames as in the
# precomputed GTZAN features.
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
# The pooling of the baseline would leave nothing of so few frames.
_BASELINE = {
  'model.cnn.padding': 'SAME',
  'model.cnn.pool_frames': '(2,2,2,2,2)',
  'model.cnn.pool_bands': '(2,2,2,2,2)',
}
_SET_BY_STUDY = (
  'seed',
  'data.split_seed',
  'data.protocol',
  'data.test_fraction',
)
# One member, because the baselines are not ensembles. A batch has as many
# windows as 16 excerpts of 4.
_OURS = {'model.num_members': '1', 'train.batch_size': '64'}


def plan_runs(
  networks: list[str],
  seeds: list[int],
  overrides: list[str],
  workdir: pathlib.Path,
  test_fraction: float,
  artist_split: str,
) -> dict[tuple[str, str], list[Run]]:
  """Returns the runs of each network and protocol.

  Args:
    networks: some of `NETWORKS`.
    seeds: random seeds; each network is trained with each of them. A random
      split uses the seed of its run.
    overrides: `--config.FIELD=VALUE` for all runs; they take precedence over
      the settings of this study.
    workdir: folder of the study, which has a subfolder for each run.
    test_fraction: fraction of the tracks in the test split of random splits.
    artist_split: `random` or `given`, the split of the artist protocol.

  Raises:
    ConfigError: a network or seed is missing, unknown or given twice, or an
      override has no value or must not be changed.
  """
  unknown = set(networks) - set(NETWORKS)
  if unknown:
    raise ConfigError(
      f'--networks={",".join(sorted(unknown))}: must be among '
      + ', '.join(NETWORKS)
    )
  for flag, values in (('networks', networks), ('seeds', seeds)):
    if not values or len(set(values)) < len(values):
      raise ConfigError(f'--{flag}: needs at least one, without repeats')
  given = {}
  for override in overrides:
    name, value = split_override(override)
    if name in _SET_BY_STUDY:
      raise ConfigError(f'{override}: is set by the study; see --help')
    given[name] = value
  found: dict[tuple[str, str], list[Run]] = {}
  for network, protocol in itertools.product(networks, PROTOCOLS):
    is_given = protocol == 'artist' and artist_split == 'given'
    fields = {
      **_ALL,
      **(_BASELINE if network.startswith('baseline/') else _OURS),
      'data.protocol': 'given' if is_given else protocol,
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
