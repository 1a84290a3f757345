r"""Tests whether data sources can be told apart by their sound alone.

If genres come from different sources, a model may learn to recognise the source
by its microphones, codec or loudness instead of the genre. Here a linear model
predicts the source of each track from the mean level of each mel band. Accuracy
above chance means that every model can take this shortcut. A lower
`config.features.max_frequency_hz` removes the part that is due to the codec.

Examples:
  mgc probe --config=configs/crnn.py \
    --config.features.max_frequency_hz=8000 --plot=bands.png \
    /music/a /music/b/manifest.csv
  mgc probe --config=configs/crnn.py \
    --config.data.source=manifest --config.data.manifest=/music/with_source.csv
"""

import argparse
import dataclasses
import logging
import os
import pathlib

import numpy as np

from mgc_jax.audio.log_mel import mel_frequencies_hz
from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import Config, DataConfig
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.prepare import prepare_tracks
from mgc_jax.datasets.sources import folder, list_tracks
from mgc_jax.datasets.track import Track
from mgc_jax.system import figure_file
from mgc_jax.system.arguments import Command, Parser
from mgc_jax.system.errors import ConfigError, DataError
from mgc_jax.system.printable_text import printable

_logger = logging.getLogger(__name__)
_NUM_FOLDS = 5
_NUM_PRINTED_BANDS = 5


@dataclasses.dataclass(frozen=True)
class ProbeResult:
  """How well a linear model tells sources apart."""

  sources: tuple[str, ...]
  num_excerpts: tuple[int, ...]  # of each source
  balanced_accuracy: float  # mean recall of the sources, on held-out groups
  weight: np.ndarray  # f64[F], mean absolute coefficient of each band


def probe_sources(
  levels: np.ndarray, source: np.ndarray, group: np.ndarray
) -> ProbeResult:
  """Cross-validates a linear model that predicts the source of each track.

  The model is logistic regression on standardised levels. All sources have the
  same weight, so the accuracy of chance is one over their number.

  Args:
    levels: f[n, F], the mean level of each track in each band, in decibels.
    source: str[n], the source of each track.
    group: [n], e.g. the artist; no group is in both train and test split.

  Raises:
    DataError: there is only one source, or a source has too few groups.
  """
  from sklearn.linear_model import LogisticRegression
  from sklearn.metrics import balanced_accuracy_score
  from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  sources, num_excerpts = np.unique(source, return_counts=True)
  if len(sources) < 2:
    raise DataError(
      f'only one source ({sources[0]}); give the folders or manifests of at '
      'least two sources, or a manifest with a column source'
    )
  for name in sources:
    if len(set(group[source == name])) < _NUM_FOLDS:
      raise DataError(f'{name}: fewer than {_NUM_FOLDS} artists or files')
  model = make_pipeline(
    StandardScaler(),
    LogisticRegression(C=0.1, class_weight='balanced', max_iter=2000),
  )
  folds = StratifiedGroupKFold(_NUM_FOLDS, shuffle=True, random_state=0)
  found = cross_val_predict(model, levels, source, groups=group, cv=folds)
  model.fit(levels, source)
  return ProbeResult(
    tuple(map(str, sources)),
    tuple(map(int, num_excerpts)),
    float(balanced_accuracy_score(source, found)),
    np.abs(model.steps[-1][1].coef_).mean(axis=0),
  )


def tracks_of(words: list[str], data: DataConfig) -> list[Track]:
  """Lists the tracks of folders and manifests, each of which is one source.

  Args:
    words: folders `DIR/<genre>/<track>`, and manifests that are in the folder
      of their audio. One genre is enough. The source is named after the folder.
    data: `config.data`, which has the other settings of a source.

  Raises:
    ConfigError: two sources have the same name.
    DataError: a folder or manifest cannot be read.
  """
  found: dict[str, list[Track]] = {}
  for word in words:
    path = pathlib.Path(word).absolute()
    if path.is_dir():
      own = dataclasses.replace(data, root=str(path))
      name, tracks = path.name, folder.list_tracks(own)
    else:
      name, tracks = path.parent.name, read_manifest(path, path.parent)
    name = printable(os.fsencode(name).decode('utf-8', 'backslashreplace'))
    if name in found:
      raise ConfigError(f'{word}: another source is also called {name}')
    found[name] = [
      dataclasses.replace(t, track_id=f'{name}/{t.track_id}', source=name)
      for t in tracks
    ]
  return [track for tracks in found.values() for track in tracks]


def _run(args: argparse.Namespace) -> None:
  """Prepares, probes, and prints what it found."""
  config = Config.from_dict(load_config(args.config, args.overrides))
  # The tracks that are present are enough.
  data = dataclasses.replace(config.data, allow_missing=True)
  if args.sources:
    tracks = tracks_of(args.sources, data)
    data = dataclasses.replace(data, source='folder')  # names the records
  else:
    tracks = list_tracks(data)
  prepared = prepare_tracks(tracks, data, config.features)
  index = prepared.index
  its = [prepared.tracks[track_id] for track_id in index.track_id]
  source = np.array([track.source for track in its])
  # The .au and .wav files of the same clip.
  group = np.array([t.artist or os.path.splitext(t.path)[0] for t in its])
  levels = index.band_sums[:, 0] / index.num_frames[:, None]
  known = source != ''
  if not known.any():
    raise DataError('no track has a source')
  found = probe_sources(levels[known], source[known], group[known])
  features = config.features
  middle_hz = mel_frequencies_hz(
    features.num_bands + 2,
    features.min_frequency_hz,
    features.max_frequency_hz,
  )[1:-1]
  counts = zip(found.sources, found.num_excerpts, strict=True)
  print(f'sources: {", ".join(f"{name} {n}" for name, n in counts)} excerpts')
  print(
    'sources predicted from mean levels up to '
    f'{features.max_frequency_hz:g} Hz: '
    f'{found.balanced_accuracy:.1%} (chance {1 / len(found.sources):.1%})'
  )
  telling = np.argsort(-found.weight)[:_NUM_PRINTED_BANDS]
  named = ', '.join(f'{middle_hz[i]:.0f}' for i in telling)
  print(f'bands with the largest weights: {named} Hz')
  if args.plot:
    path = pathlib.Path(args.plot)
    with figure_file.never_stopping(path):
      from mgc_jax.evaluation import plots

      plots.plot_levels(levels[known], source[known], middle_hz, path)
      print(f'mean levels: {path}')


def _add_arguments(parser: Parser) -> None:
  parser.add_argument(
    'sources',
    nargs='*',
    metavar='SOURCE',
    help='A folder or a manifest. Default: the data of the config.',
  )
  parser.add_config()
  parser.add_argument(
    '--plot', metavar='FILE', help='PNG of the mean level of each band.'
  )


COMMAND = Command(__doc__, _add_arguments, _run)
