"""Measures how often similar songs have the same genre: precision at 10.

Each track of a manifest is a query. Precision is the share of its genre among
the ten other tracks with the nearest embeddings, either among all tracks or
among those of other artists; chance is the share of its genre among the same
candidates.

  python -m benchmarks.similarity --root=$DATA/emotify_mp3
"""

import pathlib
import tempfile

import numpy as np

import mgc_jax
from benchmarks.measure import parser, write_results
from benchmarks.preparation import write_music
from mgc_jax.collection.neighbours import cosines, nearest_rows
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.track import Track
from mgc_jax.evaluation.metrics import mean_ci95
from mgc_jax.inference import prefetch

_NUM_NEIGHBOURS = 10


def embeddings(tracks: list[Track], model: str) -> np.ndarray:
  """Returns f32[n, D], the embedding of each track.

  Args:
    tracks: the n tracks.
    model: a model, as in `mgc_jax.load`.

  Raises:
    RuntimeError: a file cannot be read.
  """
  loaded, found = mgc_jax.load(model), []
  with prefetch.ahead(loaded, [track.path for track in tracks]) as predictions:
    for path, prediction in predictions:
      if isinstance(prediction, Exception):
        raise RuntimeError(f'{path}: {prediction}')
      found.append(prediction.embedding)
  return np.stack(found)


def precision(
  vectors: np.ndarray, genre: np.ndarray, artist: np.ndarray, is_other: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Computes the precision of each track.

  Args:
    vectors: f32[n, D], the embeddings.
    genre: str[n], the genre of each track.
    artist: str[n], the artist of each track.
    is_other: whether only tracks of other artists are candidates.

  Returns:
    f64[n] share of the track's genre among its nearest neighbours, f64[n] share
    of its genre among all candidates.
  """
  hits, chances = [], []
  for i, vector in enumerate(vectors):
    rows = np.arange(len(vectors)) != i
    if is_other:
      rows &= artist != artist[i]
    same = genre[rows] == genre[i]
    nearest = nearest_rows(cosines(vectors[rows], vector), _NUM_NEIGHBOURS)
    hits.append(same[nearest].mean())
    chances.append(same.mean())
  return np.array(hits), np.array(chances)


def main() -> None:
  """Prints a line for each model and each set of candidates."""
  flags = parser(__doc__)
  flags.add_argument(
    '--root', type=pathlib.Path, help='folder with a manifest.csv'
  )
  flags.add_argument('--models', default='cnn,lstm,crnn')
  args = flags.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    tracks = _tracks(args.root, pathlib.Path(folder))
    models = args.models.split(',')[: 1 if args.toy else None]
    vectors = {model: embeddings(tracks, model) for model in models}
  genre = np.array([track.genre for track in tracks])
  artist = np.array([track.artist or track.track_id for track in tracks])
  results: dict[str, dict] = {}
  for model, found in vectors.items():
    centred = found - found.mean(axis=0)
    for name, x in ((model, found), (f'{model}, centred', centred)):
      results[name] = {}
      for who in ('all others', 'other artists'):
        hits, chance = precision(x, genre, artist, who == 'other artists')
        low, high = mean_ci95(hits, 0.0, 1.0)['ci95']
        results[name][who] = {
          'precision_at_10': hits.mean(),
          'ci95': [low, high],
          'chance': chance.mean(),
        }
        print(
          f'{name:14} {who:13} {hits.mean():.1%} ({low:.1%} to {high:.1%}), '
          f'chance {chance.mean():.1%}',
          flush=True,
        )
  write_results({'num_tracks': len(tracks), 'models': results}, args.json)


def _tracks(root: pathlib.Path | None, folder: pathlib.Path) -> list[Track]:
  if root:
    return read_manifest(root / 'manifest.csv', root)
  write_music(folder, 2.0, 6)
  return [
    Track(path.stem, str(path), path.parent.name)
    for path in sorted(folder.rglob('*.mp3'))
  ]


if __name__ == '__main__':
  main()
