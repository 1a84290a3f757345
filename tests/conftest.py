"""Fixtures: real audio files on disk, and a tiny configuration."""

import gc
import os
import pathlib

import jax
import numpy as np
import pytest
import soundfile
from filelock import FileLock

from mgc_jax.config.schema import Config, base_config
from mgc_jax.models.bundle import Bundle
from tests import small_models
from tests.mirror import serve
from tests.processes import compiled_folder

RATE_HZ = 8000
MIN_COMPILE_S = 0.1
# A training step compiles in a sixth of the time with these. If a later JAX
# does not know one of them, it says so and stops.
QUICK_TO_COMPILE = (
  '--xla_backend_optimization_level=0',
  '--xla_cpu_use_fusion_emitters=false',
  '--xla_cpu_parallel_codegen_split_count=1',
)
# Allocations between two collections of garbage: with JAX and TensorFlow
# imported, Python's 700 cost a few percent of the time of the tests.
GC_THRESHOLDS = (50_000, 20, 100)
# Coverage is not measured here: it slows the tracing of networks by half, and
# the tests of the commands reach the same lines.
TRACE_NETWORKS = {
  'test_batch_norm',
  'test_convolution',
  'test_encoder',
  'test_ensemble',
  'test_evaluate',
  'test_experiment',
  'test_feed',
  'test_finetune',
  'test_kills',
  'test_lstm_vjp',
  'test_mesh',
  'test_models',
  'test_musicnn',
  'test_musicnn_classifier',
  'test_pretrained',
  'test_source_probe',
  'test_step',
  'test_trainer',
  'test_versions',
  'test_windows',
}
# Each takes over half a minute.
LONGEST = {
  'test_every_command_runs',
  'test_every_command_runs[as shown]',
  'test_a_run_killed_at_random_moments_ends_with_the_same_bits',
  'test_step_is_compared_with_the_peers',
  'test_growth_measures_every_command',
  'test_a_killed_process_ends_both_and_both_resume',
  'test_killed_sweep_is_resumed_and_ends_with_a_table',
}


def pytest_configure(config):
  """Sets JAX up, here and in the processes that tests start.

  Most of a test's time would go into compiling. So all workers of a session
  share one cache of compiled code, and the compiler does not optimise. What
  XLA_FLAGS has in the environment comes after those flags, and can take them
  back.
  """
  gc.set_threshold(*GC_THRESHOLDS)
  given = os.environ.get('XLA_FLAGS', '')
  os.environ['XLA_FLAGS'] = ' '.join([*QUICK_TO_COMPILE, given])
  # A size makes JAX lock the cache, so several processes can write to it.
  os.environ['JAX_COMPILATION_CACHE_MAX_SIZE'] = str(1 << 30)
  # Not of every small operation: JAX looks through the cache at each new entry.
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = str(MIN_COMPILE_S)
  jax.config.update('jax_compilation_cache_max_size', 1 << 30)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', MIN_COMPILE_S)
  # Broadcasting between arrays of different ranks must be explicit.
  jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_collection_modifyitems(items):
  """Runs the longest tests first, so that all workers end at the same time."""
  items.sort(key=lambda item: item.name not in LONGEST)
  for item in items:
    if item.path.stem in TRACE_NETWORKS:
      item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope='session', autouse=True)
def _private_cache(tmp_path_factory):
  """Keeps the user's cache out of the tests; workers share one cache.

  It holds compiled code, and the records of the corpora that tests prepare.
  """
  cache = tmp_path_factory.mktemp('cache')
  if 'PYTEST_XDIST_WORKER' in os.environ:
    cache = tmp_path_factory.getbasetemp().parent / 'cache'
  os.environ['XDG_CACHE_HOME'] = str(cache)
  jax.config.update('jax_compilation_cache_dir', compiled_folder())


@pytest.fixture(scope='session')
def made_once(tmp_path_factory):
  """Returns `made(name, make)`: a folder that all workers of pytest share.

  The first one that asks for it fills it with `make(folder)`; others wait.
  """
  shared = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    shared = shared.parent

  def made(name, make):
    folder, done = shared / name, shared / f'{name}.done'
    with FileLock(shared / f'{name}.lock'):
      if not done.exists():
        folder.mkdir()
        make(folder)
        done.touch()
    return folder

  return made


@pytest.fixture(scope='session')
def data_dir():
  """The folder of real data sets; tests that need it skip without."""
  folder = os.environ.get('DATA')
  if not folder:
    pytest.skip('set DATA to the folder of real data sets')
  return pathlib.Path(folder)


@pytest.fixture
def mirror():
  """A server on loopback that sends a file, with faults where asked."""
  with serve() as server:
    yield server


@pytest.fixture
def tiny_config():
  """A configuration that runs in seconds."""
  return tiny()


def tiny():
  """Returns a configuration of tiny signals and models."""
  config = base_config()
  config.features.sample_rate_hz = RATE_HZ
  config.features.max_frequency_hz = RATE_HZ / 2
  config.features.fft_samples = 512
  config.features.hop_samples = 256
  config.features.num_bands = 20
  config.features.excerpt_s = 3.0
  config.windows.num_frames = 32
  config.windows.hop_frames = 16
  config.windows.num_windows = 2
  config.data.synthetic.num_artists = 4
  config.data.synthetic.tracks_per_artist = 1
  config.data.synthetic.duration_s = 3.0
  config.data.num_workers = 1
  # What is off here compiles in seconds; tests that need it switch it on.
  config.augment.num_time_masks = 0
  config.augment.max_time_mask_frames = 6
  config.augment.num_band_masks = 0
  config.augment.max_band_mask_bands = 4
  config.augment.mixup_alpha = 0.0
  config.model.cnn.stack_frames = config.model.cnn.stack_bands = 2
  config.model.cnn.filters = (4, 6)
  config.model.cnn.pool_frames = (2, 2)
  config.model.cnn.pool_bands = (2, 2)
  config.model.cnn.dropout = (0.0, 0.1)
  config.model.lstm.hidden_size = 8
  config.model.dense.sizes = (7,)
  config.train.batch_size = 8
  config.train.num_epochs = 1
  config.eval.batch_size = 4
  config.eval.num_bootstrap = 100
  return config


@pytest.fixture
def folder_config(tiny_config, music_folder, tmp_path):
  """The tiny configuration on `music_folder`."""
  tiny_config.data.source = 'folder'
  tiny_config.data.root = str(music_folder)
  tiny_config.data.prepared_dir = str(tmp_path / 'prepared')
  return tiny_config


def tone(seconds=2.0, rate_hz=RATE_HZ, frequency_hz=440.0, channels=1):
  """f32[samples, channels], a tone with a little noise, different each."""
  rng = np.random.default_rng(int(frequency_hz * 10 + seconds * 1000))
  time_s = np.arange(int(seconds * rate_hz)) / rate_hz
  wave = 0.5 * np.sin(2 * np.pi * frequency_hz * time_s)
  wave = wave + 0.01 * rng.normal(size=len(wave))
  return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def write_tone(path, seconds=2.0, rate_hz=RATE_HZ, channels=1, **kwargs):
  """Writes a tone in the format of the file's ending."""
  path.parent.mkdir(parents=True, exist_ok=True)
  samples = tone(seconds, rate_hz, channels=channels, **kwargs)
  opus = {'format': 'OGG', 'subtype': 'OPUS'} if path.suffix == '.opus' else {}
  soundfile.write(path, samples, rate_hz, **opus)
  return path


@pytest.fixture
def music_folder(tmp_path):
  """`<root>/<genre>/<track>`: two genres of six tracks, all distinct."""
  return write_music(tmp_path / 'music')


def write_music(root):
  """Writes what `music_folder` has, and returns the root."""
  for g, genre in enumerate(('jazz', 'rock')):
    for i in range(6):
      frequency_hz = 200.0 + 300 * g + 17 * i
      write_tone(root / genre / f'{i}.wav', frequency_hz=frequency_hz)
  return root


@pytest.fixture
def bundle(tiny_config):
  """A model of random weights, for ten genres."""
  config = Config.from_dict(tiny_config)
  _, variables = small_models.initialise(config)
  return Bundle(
    config,
    tuple('abcdefghij'),
    jax.device_get(variables),
    np.arange(20, dtype=np.float32),
    np.ones(20, np.float32),
    temperature=1.5,
    info={'seed': 3},
  )


def table(cases):
  """Cases as pytest wants them: the first column is their names."""
  return {
    'argvalues': [case[1:] for case in cases],
    'ids': [case[0] for case in cases],
  }
