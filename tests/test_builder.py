import numpy as np
import tensorflow_datasets as tfds

from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.prepare import prepare


def test_records_contain_the_frames_of_every_track(folder_config):
  prepared = prepare(folder_config)
  index = prepared.index
  assert len(index) == 12 and prepared.skipped == []
  assert index.genres == ('jazz', 'rock')
  records = tfds.builder_from_directory(index.directory)
  found = {
    example['excerpt_id'].decode(): example
    for example in records.as_dataset('excerpts').as_numpy_iterator()
  }
  for track in prepared.tracks.values():
    (excerpt,) = excerpts_of(track, folder_config.features, 1.0)
    example = found[f'{track.track_id}#0']
    joined = example['windows'].reshape(-1, 20)[: example['num_frames']]
    np.testing.assert_array_equal(joined, excerpt.frames)
    assert index.genres[example['label']] == track.genre


def test_two_processes_write_the_same_records(folder_config, tmp_path):
  one = prepare(folder_config).index
  folder_config.data.num_workers = 2
  folder_config.data.prepared_dir = str(tmp_path / 'again')
  two = prepare(folder_config).index
  shards = [
    next(i.directory.glob('*.tfrecord*')).read_bytes() for i in (one, two)
  ]
  assert shards[0] == shards[1]
