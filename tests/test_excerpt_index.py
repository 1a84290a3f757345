import numpy as np

from mgc_jax.datasets.excerpts import excerpts_of
from mgc_jax.datasets.prepare import prepare


def test_band_stats_equal_statistics_of_the_frames(folder_config):
  prepared = prepare(folder_config)
  frames = np.concatenate(
    [
      excerpts_of(track, folder_config.features, 1.0)[0].frames.astype(
        np.float64
      )
      for track in list(prepared.tracks.values())[:9]
    ]
  )
  rows = np.repeat(np.arange(9), 3)  # repeated rows count once
  mean, std = prepared.index.band_stats(rows)
  np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-4)
  np.testing.assert_allclose(std, frames.std(0), rtol=1e-3)


def test_offsets_locate_the_records(folder_config):
  index = prepare(folder_config).index
  assert (np.sort(index.excerpt_id) == index.excerpt_id).all()
  for row in range(len(index)):
    data = (index.directory / index.shard[row]).read_bytes()
    start = index.offset[row] + 12
    length = int.from_bytes(data[start - 12 : start - 4], 'little')
    assert index.excerpt_id[row].encode() in data[start : start + length]
