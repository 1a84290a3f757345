import csv
import shutil

import numpy as np
import pytest
import soundfile

from mgc_jax.experiments.source_probe import probe_sources
from mgc_jax.system.errors import DataError
from tests.commands import run_command

RATE_HZ = 22050


def _write(path, seed, highest_hz):
  """Writes noise with a low-pass filter, like that of a codec."""
  import scipy.signal  # takes over a second, in every worker of pytest

  noise = 0.1 * np.random.default_rng(seed).normal(size=2 * RATE_HZ)
  sections = scipy.signal.butter(8, highest_hz, fs=RATE_HZ, output='sos')
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, scipy.signal.sosfilt(sections, noise), RATE_HZ)


@pytest.fixture
def sources(tmp_path):
  """Two sources of twelve tracks each, which differ only above 8 kHz."""
  for number, (name, highest_hz) in enumerate(
    (('discs', 10500.0), ('radio', 8000.0))
  ):
    for i in range(12):
      genre = ('jazz', 'rock')[i % 2]
      path = tmp_path / name / genre / f'{name}{i}.wav'
      _write(path, 100 * number + i, highest_hz)
  return tmp_path


def _run(sources, *args):
  return run_command(
    'mgc_jax',
    'probe',
    '--config=configs/cnn.py',
    '--config.features.excerpt_s=2',
    '--config.windows.num_frames=16',
    '--config.windows.hop_frames=16',
    '--config.features.num_bands=40',
    f'--config.data.prepared_dir={sources}/prepared',
    *args,
  )


def test_lower_max_frequency_removes_the_shortcut(sources):
  folders = (sources / 'discs', sources / 'radio')
  # Scaling by each excerpt's own range would spread the missing band to others.
  scaling = '--config.features.scaling=full_scale'
  plot = sources / 'bands.png'
  open_band = _run(sources, *folders, scaling, f'--plot={plot}')
  assert open_band.returncode == 0, open_band.stderr
  assert 'sources: discs 12, radio 12 excerpts' in open_band.stdout
  assert 'up to 11025 Hz: 100.0% (chance 50.0%)' in open_band.stdout
  assert plot.stat().st_size > 5000
  closed = _run(
    sources, *folders, scaling, '--config.features.max_frequency_hz=6000'
  )
  line = closed.stdout.splitlines()[1]
  assert 'up to 6000 Hz' in line
  assert float(line.split(': ')[1].split('%')[0]) < 80


def test_sources_may_be_a_column_of_a_manifest(sources):
  path = sources / 'both.csv'
  with path.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['path', 'track_id', 'genre', 'source'])
    for audio in sorted(sources.glob('*/*/*.wav')):
      source, genre, name = audio.relative_to(sources).parts
      writer.writerow([f'{source}/{genre}/{name}', name, genre, source])
  done = _run(
    sources,
    '--config.data.source=manifest',
    f'--config.data.manifest={path}',
  )
  assert done.returncode == 0, done.stderr
  assert 'sources: discs 12, radio 12 excerpts' in done.stdout


def test_one_genre_is_enough(sources):
  """One source is a folder, the other a manifest in the folder of its audio."""
  shutil.rmtree(sources / 'discs' / 'rock')
  path = sources / 'radio' / 'list.tsv'
  with path.open('w', newline='') as file:
    writer = csv.writer(file, delimiter='\t')
    writer.writerow(['path', 'track_id', 'genre'])
    for audio in sorted((sources / 'radio' / 'jazz').iterdir()):
      writer.writerow([f'jazz\\{audio.name}', audio.name, 'jazz'])
  done = _run(sources, sources / 'discs', path)
  assert done.returncode == 0, done.stderr
  assert 'sources: discs 6, radio 6 excerpts' in done.stdout


def test_single_source_is_an_error(sources):
  done = _run(sources, sources / 'discs')
  assert done.returncode == 1
  assert 'only one source (discs)' in done.stderr
  done = _run(sources, sources / 'discs', f'{sources}/discs/')
  assert done.returncode == 2
  assert 'another source is also called discs' in done.stderr


def test_probe_has_no_artist_in_both_train_and_test_split():
  rng = np.random.default_rng(0)
  source = np.repeat(['a', 'b'], 50)
  group = np.repeat(np.arange(10), 10)  # five artists of each source
  # Every artist has its own sound, which is unrelated to the source.
  levels = rng.normal(size=(10, 30))[group] + 0.1 * rng.normal(size=(100, 30))
  fair = probe_sources(levels, source, group).balanced_accuracy
  leaky = probe_sources(levels, source, np.arange(100)).balanced_accuracy
  assert leaky > 0.95 > 0.8 > fair


def test_too_few_artists_are_an_error():
  source = np.repeat(['a', 'b'], 20)
  group = np.repeat(np.arange(8), 5)
  with pytest.raises(DataError, match='a: fewer than 5 artists'):
    probe_sources(np.zeros((40, 3)), source, group)
