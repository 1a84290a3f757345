"""The embedded corpus: generated music in the baseline's ten genres.

With it everything runs without any data. Genres differ in tempo, rhythm,
harmony, timbre and mix. Each artist has its own sound and tempo and borrows
traits from another genre, so that splitting by artist matters and the task is
not trivial. Deterministic; needs numpy only.
"""

import numpy as np

from mgc_jax.config.schema import DataConfig
from mgc_jax.datasets.sources import synthesis
from mgc_jax.datasets.sources.styles import STYLES, Style
from mgc_jax.datasets.track import Track

SCHEME = 'synthetic:v1:'  # the version changes whenever the sound does
GENRES = tuple(STYLES)

_SEED = 2020  # fixed, so that everyone has the same corpus
# The probability that a trait of a track is from its artist's other genre.
_BORROWED = 0.12
_TRAITS = ('tempo', 'rhythm', 'harmony', 'timbre', 'mix')


def list_tracks(data: DataConfig) -> list[Track]:
  """Lists the tracks of the corpus, without rendering them.

  Args:
    data: `config.data`; `synthetic` has the sizes.

  Returns:
    10 x num_artists x tracks_per_artist tracks.
  """
  sizes = data.synthetic
  tracks = []
  for genre in GENRES:
    for artist in range(sizes.num_artists):
      for number in range(sizes.tracks_per_artist):
        name = f'{genre}/{artist:03d}/{number:03d}'
        tracks.append(
          Track(
            track_id=f'synthetic/{name}',
            path=f'{SCHEME}{name}?duration_s={sizes.duration_s:g}',
            genre=genre,
            artist=f'The {genre.title()} Automaton {artist}',
            title=f'Opus {number}',
          )
        )
  return tracks


def render(path: str, sample_rate_hz: int) -> np.ndarray:
  """Renders one track.

  Args:
    path: the `path` of a track that `list_tracks` returned.
    sample_rate_hz: the sample rate to render at.

  Returns:
    f32[L] mono, peak at 0.9.
  """
  name, _, duration_s = path.removeprefix(SCHEME).partition('?duration_s=')
  genre, artist, number = name.split('/')
  style = _style(GENRES.index(genre), int(artist), int(number))
  rng = np.random.default_rng(
    [_SEED, 2, GENRES.index(genre), int(artist), int(number)]
  )
  length = round(float(duration_s) * sample_rate_hz)
  return synthesis.render(style, length, sample_rate_hz, rng)


def _style(genre: int, artist: int, number: int) -> Style:
  """Combines the traits of a genre with those of the artist and the track."""
  habits = np.random.default_rng([_SEED, 0, genre, artist])
  other = (genre + 1 + int(habits.integers(len(GENRES) - 1))) % len(GENRES)
  track = np.random.default_rng([_SEED, 1, genre, artist, number])
  borrowed = track.random(len(_TRAITS)) < _BORROWED
  traits = {
    trait: getattr(STYLES[GENRES[other if take else genre]], trait)
    for trait, take in zip(_TRAITS, borrowed, strict=True)
  }
  return synthesis.with_habits(Style(**traits), habits)
