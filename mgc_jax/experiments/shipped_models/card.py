"""Writes the model cards: data, accuracy, common errors and limits."""

from typing import Any

import numpy as np

from mgc_jax.datasets.sources.synthetic import GENRES
from mgc_jax.evaluation import report
from mgc_jax.inference.pretrained import NOT_MUSIC
from mgc_jax.system.tables import markdown_table

_MAX_CONFUSIONS = 6
_GTZAN = """The {num_tracks} tracks of the train and valid
lists of GTZAN's fault-filtered split, as log-mel frames at 12.9 frames per
second. The test list was not used."""
_TAGS = """{num_tracks} tracks, as the 50 tags of musicnn (ISC licence, trained
on the Million Song Dataset): the 443 tracks of the train list of GTZAN's
fault-filtered split as its authors published their tags, 207 tracks of Emotify,
and 176 sounds that are not music (noise, tones, hum, clicks, near-silence,
synthetic speech)."""
# Measured once, by a third party, on tracks that this project does not have. So
# they are only those of these weights, which are named by their SHA-256: first
# the CNN, then the CRNN and the LSTM.
_ON_TEST_LIST = {
  '3dde4e02879b59107828bdd5c2ed036872f4894b0abcdb50a15ac56cb0f151a0': (
    '65.2 % (95 % interval over tracks 60.0 % to 70.3 %)'
  ),
  '1388ca817138a376c40aaeaa07c83cf8e326cd53bec64aa16340a082f8a35f07': '65.5 %',
  'e122fe0facf7e36a7d770f7d95937f5d3bff3a31df6bafe327ba573b39184fd7': '56.9 %',
}


def model_card(
  name: str,
  num_params: int,
  results: dict[str, Any],
  command: str,
  weights_sha256: str,
) -> str:
  """Returns a model card as Markdown.

  Args:
    name: one of `pretrained.NAMES`.
    num_params: the number of parameters of the model.
    results: the cross-validation results over all folds, with calibration;
      and `left_out`, see `left_out.score`, for a model of several collections.
    command: the command that trained the model.
    weights_sha256: see `bundle.digest`; some results were measured for certain
      weights only.
  """
  genres = results['genres']
  missing = sorted(set(GENRES) - set(genres))  # GENRES are the baseline's
  rows = [
    [genre, f'{row["recall"]:.0%}', f'{row["precision"]:.0%}', row['support']]
    for genre, row in results['per_genre'].items()
  ]
  return f"""# {name}: a music genre classifier

{num_params:,} parameters. It predicts one of {len(genres)} genres:
{', '.join(genres)}.

**Training data.** {_training_data(name, results)}

{_elsewhere(weights_sha256, results)}**Accuracy.** The track accuracy is
{_music_accuracy(results)}{report.accuracy_text(results)},
in {results['num_folds']}-fold cross-validation with no artist in two splits:
each track was classified by a model that had seen neither the track nor its
artist in training.
{_unknown_artists(results)}Features, network and training settings were chosen
on the same folds, so expect a lower accuracy on other music. This model was
then trained on all tracks with the same settings; its weights are those of the
last epoch.

{markdown_table(['genre', 'recall', 'precision', 'tracks'], rows)}

**Common errors.** {_confusions(results)}

**Calibration.** {_calibration(results)}

**Limits.** Of the ten genres of the published baseline it does not know
{', '.join(missing)}. {_limits(results)}

**Licence.** GTZAN may be used for research. These weights were made from it, so
they are for research, too.

Made by `{command}`.
"""


def _training_data(name: str, results: dict[str, Any]) -> str:
  text = _TAGS if name == 'tags' else _GTZAN
  return text.format(num_tracks=results['num_tracks'])


def _music_accuracy(results: dict[str, Any]) -> str:
  """Returns the accuracy for music, where not all tracks are music."""
  counts = np.array(results['confusion_matrix'])
  is_music = np.array([genre != NOT_MUSIC for genre in results['genres']])
  if is_music.all():
    return ''
  share = counts.diagonal()[is_music].sum() / counts[is_music].sum()
  return f'{share:.1%} for music, and with the sounds that are not music\n'


def _elsewhere(weights_sha256: str, results: dict[str, Any]) -> str:
  """Describes the results on music that was collected by others."""
  if weights_sha256 in _ON_TEST_LIST:
    return (
      "**On GTZAN's test list**, 290 tracks, its track accuracy is\n"
      f'{_ON_TEST_LIST[weights_sha256]}; measured once, by a third party.\n\n'
    )
  if 'left_out' not in results:
    return ''
  lines = []
  for row in results['left_out']['rows']:
    recalls = [f'{k} {a} of {b}' for k, (a, b) in row['recalls'].items()]
    lines.append(
      f'* {row["collection"]}: {row["track_accuracies"][0]:.1%} of '
      f'{row["num_tracks"]} tracks ({", ".join(recalls)})'
    )
  return (
    '**On a collection that was left out of the training**, of the genres that '
    'another\ncollection has as well:\n\n' + '\n'.join(lines) + '\n\n'
  )


def _calibration(results: dict[str, Any]) -> str:
  """Says where the temperature is from, and what it improves."""
  if 'left_out' not in results:
    found = results['calibration']
    before, after = (
      found[when]['expected_calibration_error'] for when in ('before', 'after')
    )
    return (
      f'The logits are divided by {found["temperature"]:.2f}, a temperature\n'
      'fitted on the predictions for the held-out folds. The expected '
      'calibration error\n'
      f'was {before:.3f} before and {after:.3f} after, where each fold was '
      'scored with\na temperature fitted on the other folds.'
    )
  found = results['left_out']['calibration']
  errors = [
    f'{name} {one["before"]["expected_calibration_error"]:.3f} before and '
    f'{one["after"]["expected_calibration_error"]:.3f} after'
    for name, one in found['collections'].items()
  ]
  return (
    f'The logits are divided by {found["temperature"]:.2f}, a temperature\n'
    'fitted on the predictions for a collection that was left out, the one '
    'for which\nit is largest. The expected calibration error on each of them: '
    f'{", ".join(errors)}.'
  )


def _limits(results: dict[str, Any]) -> str:
  if 'left_out' not in results:
    return (
      'It was not trained on recordings made after 2001, other\n'
      'genres, speech or silence, but predicts one of its genres for them, too.'
    )
  return (
    'It calls noise, tones and most speech\n"not music"; other sounds and '
    'genres that it does not know get one of its genres.\nPop and rock of '
    'another collection are often confused.'
  )


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
