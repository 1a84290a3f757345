"""The command lines, as real processes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from mgc_jax.__main__ import COMMANDS
from tests.commands import run_command
from tests.processes import run_python

ROOT = pathlib.Path(__file__).parent.parent


def _run(*args, cwd=ROOT, path=None):
  module = 'mgc_jax.main'
  if path is None:
    return run_command(module, *args, cwd=cwd)
  return subprocess.run(
    [sys.executable, '-m', module, *map(str, args)],
    capture_output=True,
    text=True,
    check=False,
    cwd=cwd,
    env={**os.environ, 'PYTHONPATH': str(path)},
  )


SMOKE = f'--config={ROOT}/configs/smoke.py'


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A finished run of configs/smoke.py, from nothing to results."""
  workdir = tmp_path_factory.mktemp('runs') / 'smoke'
  done = _run(SMOKE, f'--workdir={workdir}')
  assert done.returncode == 0, done.stderr
  return workdir, done


def test_one_command_prepares_trains_evaluates_and_prints(finished):
  workdir, done = finished
  assert 'SYNTHETIC' in done.stderr
  assert '--config.data.source=folder' in done.stderr
  assert 'Traceback' not in done.stderr
  assert 'track accuracy' in done.stdout and 'precision' in done.stdout
  found = {str(p.relative_to(workdir)) for p in workdir.glob('**/*.*')}
  assert {
    'config.json',
    'metrics.jsonl',
    'results.json',
    'bundle/bundle.json',
    'plots/curves.png',
    'plots/confusion_matrix.png',
    'plots/spectrograms.png',
    'plots/distribution.png',
  } <= found
  for path in (workdir / 'plots').iterdir():
    assert path.read_bytes()[:4] == b'\x89PNG' and path.stat().st_size > 5000


def test_results_have_every_documented_field(finished):
  results = json.loads((finished[0] / 'results.json').read_text())
  assert {
    'protocol',
    'split',
    'num_tracks',
    'num_windows',
    'window_accuracy',
    'track_accuracy',
    'track_accuracy_ci95',
    'track_accuracy_ci95_artists',
    'top3_track_accuracy',
    'macro_f1',
    'loss',
    'per_genre',
    'confusion_matrix',
    'genres',
    'num_params',
    'seed',
    'data_fingerprint',
    'versions',
  } <= set(results)
  assert results['protocol'] == 'artist' and results['split'] == 'test'
  low, high = results['track_accuracy_ci95']
  assert low <= results['track_accuracy'] <= high
  assert len(results['genres']) == len(results['per_genre']) == 10
  total = sum(map(sum, results['confusion_matrix']))
  assert total == results['num_tracks'] == 10


def _files(workdir):
  return {
    path: (path.stat().st_mtime_ns, path.read_bytes())
    for path in workdir.glob('**/*')
    if path.is_file()
  }


def test_a_finished_command_prints_its_result_and_changes_nothing(finished):
  workdir, done = finished
  before = _files(workdir)
  again = _run(SMOKE, f'--workdir={workdir}')
  assert again.returncode == 0
  assert again.stdout == done.stdout
  assert _files(workdir) == before


@pytest.mark.slow
def test_a_broken_matplotlib_does_not_stop_a_run(finished, tmp_path):
  """The import error stands also for a bad font or layout."""
  package = tmp_path / 'broken' / 'matplotlib'
  package.mkdir(parents=True)
  (package / '__init__.py').write_text('raise ImportError("no C extension")')
  workdir = tmp_path / 'run'
  path = f'{package.parent}:{ROOT}'
  done = _run(SMOKE, f'--workdir={workdir}', path=path)
  assert done.returncode == 0, done.stderr
  assert (
    done.stdout.replace(str(workdir), str(finished[0])) == finished[1].stdout
  )
  assert (workdir / 'results.json').exists()
  assert not (workdir / 'plots').exists()
  for name in ('curves', 'confusion_matrix', 'spectrograms', 'distribution'):
    message = f'plots/{name}.png: not drawn: ImportError: no C extension'
    assert done.stderr.count(message) == 1
  assert 'Traceback' not in done.stderr


def test_another_configuration_is_rejected_in_the_same_workdir(finished):
  done = _run(SMOKE, f'--workdir={finished[0]}', '--config.train.num_epochs=9')
  assert done.returncode == 2
  assert 'config.train.num_epochs=9: the run in' in done.stderr
  assert 'use another --workdir' in done.stderr


def _manifest(folder, genres=('classical', 'rock')):
  from tests.conftest import write_tone

  lines = ['path,track_id,genre,split']
  for g, genre in enumerate(genres):
    for i in range(3):
      name = f'{genre}{i}.wav'
      write_tone(folder / name, 6.0, frequency_hz=150.0 + 90 * g + 11 * i)
      lines.append(f'{name},{genre}{i},{genre},{"test" if i else "valid"}')
  (folder / 'm.csv').write_text('\n'.join(lines) + '\n')
  return [
    '--config.data.source=manifest',
    f'--config.data.manifest={folder / "m.csv"}',
  ]


def test_a_bundle_is_evaluated_on_another_manifest(finished, tmp_path):
  """Features come from the bundle; genres are matched by name."""
  workdir = tmp_path / 'copy'
  subprocess.run(['cp', '-r', finished[0], workdir], check=True)
  done = _run(
    f'--config={ROOT}/configs/cnn.py',
    f'--workdir={workdir}',
    '--mode=evaluate',
    '--config.data.eval_split=valid,test',
    *_manifest(tmp_path),
  )
  assert done.returncode == 0, done.stderr
  (path,) = workdir.glob('evaluations/*-valid+test/results.json')
  results = json.loads(path.read_text())
  assert (results['protocol'], results['split']) == ('given', 'valid,test')
  assert results['num_tracks'] == 6 and len(results['genres']) == 10
  assert results['per_genre']['rock']['support'] == 3
  assert results['per_genre']['jazz']['support'] == 0


def test_a_genre_unknown_to_the_bundle_is_reported(finished, tmp_path):
  done = _run(
    SMOKE,
    f'--workdir={finished[0]}',
    '--mode=evaluate',
    *_manifest(tmp_path, ('rock', 'zouk')),
  )
  assert done.returncode == 1
  assert 'm.csv, line 5: unknown genre zouk; known: classical' in done.stderr


def test_prepare_reports_counts_hours_and_skipped_tracks(tmp_path):
  arguments = _manifest(tmp_path)
  (tmp_path / 'rock2.wav').write_text('no music')
  done = run_command(
    *('mgc_jax', 'prepare', SMOKE),
    *arguments,
    '--config.data.allow_missing',
    f'--config.data.prepared_dir={tmp_path}/p',
  )
  assert done.returncode == 0, done.stderr
  assert 'genre      train  valid  test  hours' in done.stdout
  assert 'rock           0      1     1   0.00' in done.stdout
  assert 'Skipped: 1 tracks' in done.stdout
  assert 'rock2.wav: not audio' in done.stdout


@pytest.mark.parametrize(
  ('args', 'code', 'message'),
  [
    ([], 2, '--config'),
    ([SMOKE, '--mode=guess'], 2, '--mode'),
    ([SMOKE, '--config.train.speed=9'], 2, 'speed'),
    ([SMOKE, '--config.train.num_epochs=many'], 2, 'num_epochs'),
    ([SMOKE, '--config.train.batch_size=-4'], 2, 'config.train.batch_size=-4'),
    ([SMOKE, 'stray'], 2, 'stray'),
    (['--config=none.py'], 2, 'none.py'),
    (
      [SMOKE, '--config.data.source=folder', '--config.data.root=/none'],
      1,
      '/none: no such folder',
    ),
    ([SMOKE, '--mode=evaluate'], 2, '--workdir: not set; specify the run'),
    (
      [SMOKE, '--mode=evaluate', '--workdir=/none'],
      1,
      '/none/bundle/bundle.json: no such file; train first',
    ),
  ],
)
def test_wrong_usage_is_one_message_and_an_exit_code(
  args, code, message, tmp_path
):
  done = _run(*args, cwd=tmp_path)
  assert done.returncode == code, done.stderr
  assert message in done.stderr
  assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('name', COMMANDS)
def test_help_says_what_it_does_and_shows_an_example(name):
  done = run_command('mgc_jax', name, '--help')
  assert (done.returncode, done.stderr) == (0, '')
  assert done.stdout.startswith(f'usage: mgc {name} ')
  assert 'Example' in done.stdout and f'mgc {name}' in done.stdout


def test_training_modules_import_without_tensorflow():
  code = (
    'import sys; sys.modules["tensorflow"] = None;'
    'sys.modules["tensorflow_datasets"] = None;'
    'import mgc_jax.evaluation.evaluate, mgc_jax.models.bundle,'
    'mgc_jax.training.augment, mgc_jax.training.trainer,'
    'mgc_jax.training.experiment'
  )
  run_python(code)
