"""Streamed from disk or resident on the device, training is the same."""

import functools

import jax
import numpy as np
import pytest

from mgc_jax.config.schema import Config
from mgc_jax.datasets.prepare import prepare
from mgc_jax.datasets.reader import Reader
from mgc_jax.datasets.splits import make_splits
from mgc_jax.distributed.mesh import data_mesh, replicate
from mgc_jax.models import bundle as bundles
from mgc_jax.models import create_model
from mgc_jax.system.errors import ConfigError
from mgc_jax.training import feed, trainer
from mgc_jax.training.feed import (
  Resident,
  Streamed,
  epoch_order,
  genre_weights,
  is_resident,
  resident_bytes,
)
from mgc_jax.training.optimizer import create_optimizer
from mgc_jax.training.run_writer import RunWriter
from mgc_jax.training.step import create_state, train_step
from mgc_jax.training.window_sums import WindowSums
from tests.conftest import tiny


@pytest.fixture(scope='module')
def run():
  """A function that trains 5 steps; returns the state, sums and counts."""
  config = tiny()
  config.model.name = 'lstm'
  config.model.dense.dropout = (0.3,)
  prepared = prepare(config)
  train = make_splits(prepared, config).examples['train']
  reader, mesh = Reader(prepared.index), data_mesh()
  frozen = Config.from_dict(config)
  model, tx = create_model(frozen), create_optimizer(frozen.train, 5)
  step = functools.partial(train_step, model=model, tx=tx, config=frozen)
  mean, std = reader.index.band_stats(train.rows)
  weights = genre_weights(reader.index.label, 10) * np.arange(1, 11)
  order = np.resize(epoch_order(len(train), 8, 0, 0), (5, 8))
  state = jax.device_get(create_state(model, tx, frozen, mean, std))

  def of(make):
    start = replicate((state, WindowSums.of([])), mesh)
    key = replicate(jax.random.key(0), mesh)
    fed = make(step, reader, train, weights, mesh)
    advanced = list(fed.run(*start, order, key))
    last, sums, _ = advanced[-1]
    counts = [count for *_, count in advanced]
    return jax.device_get(last), sums.to_list(), counts

  return of


@pytest.fixture(scope='module')
def streamed(run):
  return run(Streamed)


def test_streamed_and_resident_give_the_same_bits(run, streamed):
  resident = run(Resident)
  jax.tree.map(np.testing.assert_array_equal, streamed[0], resident[0])
  assert streamed[1:] == resident[1:]
  assert streamed[2] == [1] * 5


def test_chunks_of_an_epoch_give_the_same_weights_and_sums(
  run, streamed, monkeypatch
):
  monkeypatch.setattr(feed, 'STEPS_PER_CHUNK', 3)
  chunks = run(functools.partial(Resident, in_chunks=True))
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, streamed[0], chunks[0])
  close(streamed[1], chunks[1])
  assert chunks[2] == [3, 2]


def test_all_chunks_compile_once(run, monkeypatch):
  monkeypatch.setattr(feed, 'STEPS_PER_CHUNK', 2)
  made = []

  def make(*args):
    made.append(Resident(*args, in_chunks=True))
    return made[-1]

  assert run(make)[2] == [2, 2, 1]
  assert made[0]._chunk._cache_size() == 1


def test_a_run_ends_with_the_same_bundle(tiny_config, tmp_path):
  prepared = prepare(tiny_config)

  def made(cache):
    tiny_config.data.cache = cache
    splits = make_splits(prepared, tiny_config)
    folder = tmp_path / cache
    folder.mkdir()
    config = Config.from_dict(tiny_config)
    parts = config, splits, Reader(prepared.index), RunWriter(folder)
    return parts, type(trainer.make_feed(trainer.create_run(*parts)))

  digests = []
  for cache, wanted in (('none', Streamed), ('device', Resident)):
    parts, kind = made(cache)
    assert kind is wanted
    trainer.train(*parts)
    digests.append(bundles.digest(tmp_path / cache / 'bundle'))
  assert digests[0] == digests[1]
  assert made('auto')[1] is Resident


def test_resident_bytes_are_those_of_the_loaded_frames(tiny_config):
  prepared = prepare(tiny_config)
  train = make_splits(prepared, tiny_config).examples['train']
  reader = Reader(prepared.index)
  data = feed.load_examples(reader, train, None, data_mesh())
  assert data['frames'].nbytes == resident_bytes(train, 20)
  batch = next(reader.batches(train, np.arange(len(train)), len(train)))
  for name, rows in batch.items():
    np.testing.assert_array_equal(data[name], rows)


def test_a_split_that_does_not_fit_is_rejected_or_streamed(monkeypatch):
  # On CPU the loaded arrays count twice.
  monkeypatch.setattr(feed, 'free_host_bytes', lambda: 2000 << 20)
  assert is_resident('device', 700 << 20)
  assert not is_resident('none', 1)
  assert not is_resident('auto', 300 << 20)
  assert is_resident('auto', 200 << 20)
  with pytest.raises(ConfigError, match=r'config.data.cache=device.*1.76 GiB'):
    is_resident('device', 900 << 20)
