"""Writes the model cards: data, accuracy, common errors and limits."""

from typing import Any

import numpy as np

from mgc_jax.datasets.sources.synthetic import GENRES
from mgc_jax.evaluation import report
from mgc_jax.system.tables import markdown_table

_MAX_CONFUSIONS = 6


def model_card(
  name: str, num_params: int, results: dict[str, Any], command: str
) -> str:
  """Returns a model card as Markdown.

  Args:
    name: cnn, lstm or crnn.
    num_params: the number of parameters of the model.
    results: the cross-validation results over all folds, with calibration.
    command: the command that trained the model.
  """
  genres = results['genres']
  missing = sorted(set(GENRES) - set(genres))  # GENRES are the baseline's
  rows = [
    [genre, f'{row["recall"]:.0%}', f'{row["precision"]:.0%}', row['support']]
    for genre, row in results['per_genre'].items()
  ]
  temperature = results['calibration']['temperature']
  before, after = (
    results['calibration'][when]['expected_calibration_error']
    for when in ('before', 'after')
  )
  return f"""# {name}: a music genre classifier

{num_params:,} parameters. It predicts one of {len(genres)} genres:
{', '.join(genres)}.

**Training data.** The {results['num_tracks']} tracks of the train and valid
lists of GTZAN's fault-filtered split, as log-mel frames at 12.9 frames per
second. The test list was not used.

**Accuracy.** The track accuracy is
{report.accuracy_text(results)},
in {results['num_folds']}-fold cross-validation with no artist in two splits:
each track was classified by a model that had seen neither the track nor its
artist in training.
{_unknown_artists(results)}Features, network and training settings were chosen
on the same folds, so expect a lower accuracy on other music. This model was
then trained on all tracks with the same settings; its weights are those of the
last epoch.

{markdown_table(['genre', 'recall', 'precision', 'tracks'], rows)}

**Common errors.** {_confusions(results)}

**Calibration.** The logits are divided by {temperature:.2f}, a temperature
fitted on the predictions for the held-out folds. The expected calibration error
was {before:.3f} before and {after:.3f} after, where each fold was scored with
a temperature fitted on the other folds.

**Limits.** Of the ten genres of the published baseline it does not know
{', '.join(missing)}. It was not trained on recordings made after 2001, other
genres, speech or silence, but predicts one of its genres for them, too.

**Licence.** GTZAN may be used for research. These weights were made from it, so
they are for research, too.

Made by `{command}`.
"""


def _unknown_artists(results: dict[str, Any]) -> str:
  number = results['num_tracks_without_artist']
  if not number:
    return ''
  return (
    f'The artist of {number} tracks is unknown; each counts as an artist of '
    'its own.\n'
  )


def _confusions(results: dict[str, Any]) -> str:
  """Describes the most frequent confusions in a sentence."""
  genres, counts = results['genres'], np.array(results['confusion_matrix'])
  np.fill_diagonal(counts, 0)
  order = np.argsort(-counts, axis=None, kind='stable')[:_MAX_CONFUSIONS]
  pairs = [np.unravel_index(i, counts.shape) for i in order]
  named = [
    f'{genres[a]} is taken for {genres[b]} ({counts[a, b]} tracks)'
    for a, b in pairs
    if counts[a, b]
  ]
  return f'Most often {", ".join(named)}.' if named else 'None on these tracks.'
