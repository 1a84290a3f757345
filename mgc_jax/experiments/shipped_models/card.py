"""The card of a model: what it is, how good, and where it fails."""

from typing import Any

import numpy as np

from mgc_jax.datasets.sources.synthetic import GENRES
from mgc_jax.evaluation import report
from mgc_jax.system.tables import markdown_table

_MAX_CONFUSIONS = 6


def model_card(
  name: str, num_params: int, found: dict[str, Any], command: str
) -> str:
  """Returns the card as Markdown.

  Args:
    name: cnn, lstm or crnn.
    num_params: of the model.
    found: of `pool.pool_with_calibration`, over the folds.
    command: that made the model.
  """
  genres = found['genres']
  missing = sorted(set(GENRES) - set(genres))  # those are the original's
  rows = [
    [genre, f'{row["recall"]:.0%}', f'{row["precision"]:.0%}', row['support']]
    for genre, row in found['per_genre'].items()
  ]
  temperature = found['calibration']['temperature']
  before, after = (
    found['calibration'][when]['expected_calibration_error']
    for when in ('before', 'after')
  )
  return f"""# {name}: a music genre classifier

{num_params:,} parameters. It answers one of {len(genres)} genres:
{', '.join(genres)}.

**Data.** The {found['num_tracks']} tracks of GTZAN's fault-filtered lists that
are trained on here (train and valid), as log-mel frames at 12.9 a second. The
test list was not used.

**How good.** Track accuracy
{report.accuracy_text(found)},
in {found['num_folds']}-fold cross-validation with no artist in two splits: each
track was answered by a model that had heard neither it nor its artist.
{_unknown(found)}Features, network and training were chosen by these same folds:
expect less of other music. The model here was then trained on all tracks, with
the same settings, to its last epoch.

{markdown_table(['genre', 'recall', 'precision', 'tracks'], rows)}

**Where it fails.** {_confusions(found)}

**How sure.** Its logits are divided by {temperature:.2f}, fitted on the folds'
answers. The expected calibration error was {before:.3f} before and {after:.3f}
after, each fold with the temperature of the others.

**What it does not know.** Of the original's ten genres it lacks
{', '.join(missing)}. Recordings made after 2001, other genres, speech and
silence are nothing it was trained on, and it answers one of its genres
nevertheless.

**Terms.** GTZAN may be used for research; these weights, made from it, are for
research as well.

Made by `{command}`.
"""


def _unknown(found: dict[str, Any]) -> str:
  number = found['num_tracks_without_artist']
  if not number:
    return ''
  return (
    f'Of {number} tracks no artist is known; each counts as one of its own.\n'
  )


def _confusions(found: dict[str, Any]) -> str:
  """Returns the commonest mistakes, in words."""
  genres, counts = found['genres'], np.array(found['confusion_matrix'])
  np.fill_diagonal(counts, 0)
  order = np.argsort(-counts, axis=None, kind='stable')[:_MAX_CONFUSIONS]
  pairs = [np.unravel_index(i, counts.shape) for i in order]
  named = [
    f'{genres[a]} taken for {genres[b]} ({counts[a, b]} tracks)'
    for a, b in pairs
    if counts[a, b]
  ]
  return f'Most often {", ".join(named)}.' if named else 'Nowhere on these.'
