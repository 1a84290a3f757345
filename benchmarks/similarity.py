"""Whether similar songs are of one genre: precision at 10, against chance.

Each track of a manifest is a question; of the ten others whose embeddings are
nearest, how many are of its genre? Once among all others, once among those of
other artists. Chance is the share of its genre among the same others.

  python -m benchmarks.similarity --root=$DATA/emotify_mp3
"""

import pathlib
import tempfile

import numpy as np

import mgc_jax
from benchmarks.measure import parser, tell
from benchmarks.preparation import write_music
from mgc_jax.collection.neighbours import cosines, nearest_rows
from mgc_jax.datasets.manifest import read_manifest
from mgc_jax.datasets.track import Track
from mgc_jax.evaluation.metrics import mean_ci95
from mgc_jax.inference import prefetch

_NUM_ANSWERS = 10


def embeddings(tracks: list[Track], model: str) -> np.ndarray:
  """Returns f32[n, D].

  Args:
    tracks: n files.
    model: as `mgc_jax.load` takes it.

  Raises:
    RuntimeError: a file cannot be read.
  """
  loaded, found = mgc_jax.load(model), []
  with prefetch.ahead(loaded, [track.path for track in tracks]) as answers:
    for path, answer in answers:
      if isinstance(answer, Exception):
        raise RuntimeError(f'{path}: {answer}')
      found.append(answer.embedding)
  return np.stack(found)


def precision(
  vectors: np.ndarray, genre: np.ndarray, artist: np.ndarray, is_other: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Asks for each track.

  Args:
    vectors: f32[n, D].
    genre: str[n].
    artist: str[n].
    is_other: whether answers are of other artists.

  Returns:
    f64[n] share of its genre among the answers, f64[n] that of chance.
  """
  hits, chances = [], []
  for i, vector in enumerate(vectors):
    rows = np.arange(len(vectors)) != i
    if is_other:
      rows &= artist != artist[i]
    same = genre[rows] == genre[i]
    nearest = nearest_rows(cosines(vectors[rows], vector), _NUM_ANSWERS)
    hits.append(same[nearest].mean())
    chances.append(same.mean())
  return np.array(hits), np.array(chances)


def main() -> None:
  """Prints a line for each model and each question."""
  flags = parser(__doc__)
  flags.add_argument('--root', type=pathlib.Path, help='with a manifest.csv')
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
    for name, its in ((model, found), (f'{model}, centred', centred)):
      results[name] = {}
      for who in ('all others', 'other artists'):
        hits, chance = precision(its, genre, artist, who == 'other artists')
        low, high = mean_ci95(hits)['ci95']
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
  tell({'num_tracks': len(tracks), 'models': results}, args.json)


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
