import json
import sys

import pytest
import scipy.stats

from mgc_jax.config.flags import load_config
from mgc_jax.config.schema import base_config
from mgc_jax.experiments.sweep.plan import (
  Run,
  check_folds,
  plan,
  share,
  split_values,
)
from mgc_jax.experiments.sweep.table import compare, markdown, scores, write
from mgc_jax.system.errors import ConfigError, DataError
from tests.commands import run_command
from tests.processes import ROOT, Process


@pytest.mark.parametrize(
  ('text', 'values'),
  [
    ('a', ['a']),
    ('0.1,0.2', ['0.1', '0.2']),
    ('(1, 2),(3,)', ['(1, 2)', '(3,)']),
    ("'a,b',c", ['a,b', 'c']),
    ('', ['']),
  ],
)
def test_values_are_split_at_commas_outside_brackets(text, values):
  assert split_values(text) == values


def test_plan_has_every_combination_with_every_seed(tmp_path):
  overrides = [
    '--config.train.learning_rate=0.1,0.2',
    '--config.model.name=cnn,lstm',
    '--config.train.num_epochs=3',
  ]
  runs = plan([0, 7], overrides, tmp_path)
  assert len(runs) == 8 and len({run.workdir for run in runs}) == 8
  assert runs[0] == Run(
    'train.learning_rate=0.1, model.name=cnn',
    0,
    (
      '--config.train.learning_rate=0.1',
      '--config.model.name=cnn',
      '--config.train.num_epochs=3',
      '--config.seed=0',
    ),
    runs[0].workdir,
  )


def test_every_setting_has_its_own_folder(tmp_path):
  runs = plan([0], ['--config.a=x/y,x_y,x y'], tmp_path)
  assert len({run.workdir for run in runs}) == 3
  assert runs[1].workdir == tmp_path / 'a=x_y' / 'seed0'
  with pytest.raises(ConfigError, match='--seeds: needs at least one'):
    plan([], [], tmp_path)


@pytest.mark.parametrize(
  ('fields', 'folds', 'message'),
  [
    ({'num_folds': 3}, '0,1', 'must be one, or all of config.data.num_folds=3'),
    ({}, '0,1', 'must be one, or all of config.data.num_folds=0'),
    ({'num_folds': 2, 'eval_split': 'valid'}, '0,1', 'eval_split=valid: must'),
    ({'num_folds': 2}, '0,1', None),
    ({'num_folds': 5}, '3', None),
  ],
)
def test_folds_that_cannot_be_combined_are_reported(
  tmp_path, fields, folds, message
):
  runs = plan([0, 1], [f'--config.data.fold={folds}'], tmp_path)
  configs = []
  for run in runs:
    configs.append(base_config())
    fold = int(run.workdir.name.partition('-fold')[2])
    configs[-1].data.update(fold=fold, **fields)
  if message is None:
    check_folds(runs, configs)
    return
  with pytest.raises(ConfigError, match=message):
    check_folds(runs, configs)


def test_folds_belong_to_one_row(tmp_path):
  overrides = ['--config.data.num_folds=3', '--config.data.fold=0,1,2']
  runs = plan([4], overrides, tmp_path)
  assert {run.row for run in runs} == {'as configured'}
  assert [run.workdir.name for run in runs] == [
    f'seed4-fold{k}' for k in range(3)
  ]
  assert '--config.data.fold=2' in runs[2].overrides


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    (['--config.seed=3'], '--config.seed=3: use --seeds'),
    (['--config.train.num_epochs'], 'needs a value'),
    (['--config.a=1', '--config.a=2'], 'given twice'),
    (['--config.a=1,1'], 'given twice'),
  ],
)
def test_invalid_plan_is_reported(tmp_path, overrides, message):
  with pytest.raises(ConfigError, match=message):
    plan([0], overrides, tmp_path)


def test_tasks_of_an_array_share_the_runs(tmp_path):
  runs = plan([0, 1, 2, 3, 4], [], tmp_path)
  assert share(runs, {}) == runs
  shares = [
    share(
      runs,
      {
        'SLURM_ARRAY_TASK_ID': str(task),
        'SLURM_ARRAY_TASK_MIN': '3',
        'SLURM_ARRAY_TASK_MAX': '5',
        'SLURM_ARRAY_TASK_COUNT': '2',
        'SLURM_ARRAY_TASK_STEP': '2',
      },
    )
    for task in (3, 5)
  ]
  assert [len(part) for part in shares] == [3, 2]
  assert sorted(r.seed for part in shares for r in part) == [0, 1, 2, 3, 4]
  gaps = {'ID': '2', 'MIN': '0', 'MAX': '5', 'COUNT': '3', 'STEP': '1'}
  with pytest.raises(ConfigError, match='--array: must be a range'):
    share(runs, {f'SLURM_ARRAY_TASK_{k}': v for k, v in gaps.items()})


def _found(**rows):
  return {
    row: {
      seed: {'track_accuracy': accuracy, 'num_tracks': 50}
      for seed, accuracy in enumerate(accuracies)
    }
    for row, accuracies in rows.items()
  }


def test_difference_to_the_first_row_is_paired_by_seed():
  one, two = [0.5, 0.6, 0.52], [0.55, 0.63, 0.6]
  first, second = compare(_found(a=one, b=two))
  assert 'difference' not in first
  paired = scipy.stats.ttest_rel(two, one).confidence_interval(0.95)
  assert second['difference']['ci95'] == pytest.approx(
    [paired.low, paired.high]
  )
  # Variation that both rows share between seeds cancels.
  spread = second['difference']['ci95'][1] - second['difference']['ci95'][0]
  assert spread < second['ci95'][1] - second['ci95'][0]


def test_intervals_stay_within_what_is_possible():
  first, second = compare(_found(a=[0.99, 0.5, 0.999], b=[0.01, 0.4, 0.002]))
  assert first['ci95'][1] == 1.0 and first['ci95'][0] > 0
  assert second['ci95'][0] == 0.0 and second['ci95'][1] < 1
  assert second['difference']['ci95'][0] == -1.0


def test_two_seeds_are_too_few_for_an_interval():
  rows = compare(_found(a=[0.5, 0.6], b=[0.6, 0.5]))
  assert rows[0]['std'] > 0 and rows[0]['ci95'] is None
  assert rows[1]['difference']['ci95'] is None
  assert markdown(rows).endswith('An interval needs at least 3 seeds.')
  rows = compare(_found(a=[0.5, 0.6, 0.7], b=[0.6, 0.5, 0.6]))
  assert markdown(rows).endswith('|') and rows[0]['ci95']


def _result(folder, **content):
  folder.mkdir(parents=True)
  (folder / 'results.json').write_text(json.dumps(content))


def test_table_of_one_seed_has_no_interval(tmp_path):
  runs = plan([0], ['--config.a=1,2'], tmp_path)
  for run, accuracy in zip(runs, (0.5, 0.75), strict=True):
    _result(run.workdir, track_accuracy=accuracy, num_tracks=4)
  rows = compare(scores(runs))
  *lines, empty, note = markdown(rows).splitlines()
  assert empty == '' and note == 'An interval needs at least 3 seeds.'
  assert lines[0].startswith('| settings | seeds | tracks')
  assert lines[2].split() == '| a=1 | 0 | 4 | 50.0% | | | |'.split()
  assert lines[3].split() == '| a=2 | 0 | 4 | 75.0% | | | +25.0% |'.split()
  assert len({len(line) for line in lines}) == 1
  write(rows, tmp_path)
  assert (tmp_path / 'sweep.md').read_text() == markdown(rows) + '\n'
  assert len(list(tmp_path.glob('sweep.*'))) == 2


@pytest.mark.parametrize(
  'text', ['', '{', '[]', '{}', '{"track_accuracy": 1e999}']
)
def test_damaged_result_is_none(tmp_path, text):
  (run,) = plan([0], [], tmp_path)
  assert run.result() is None
  run.workdir.mkdir(parents=True)
  (run.workdir / 'results.json').write_text(text)
  assert run.result() is None


def test_run_without_a_result_is_reported(tmp_path):
  with pytest.raises(DataError, match='seed0: this run has no result'):
    scores(plan([0], [], tmp_path))


def test_rows_with_different_tracks_are_not_compared(tmp_path):
  runs = plan([0, 1], [], tmp_path)
  for run, split in zip(runs, ('test', 'valid'), strict=True):
    _result(run.workdir, track_accuracy=0.5, num_tracks=4, split=split)
  with pytest.raises(DataError, match='seed1: its split is valid'):
    scores(runs)


def test_folds_are_combined(tmp_path):
  overrides = ['--config.data.num_folds=2', '--config.data.fold=0,1']
  runs = plan([0], overrides, tmp_path)
  for k, (run, confusion) in enumerate(
    zip(runs, ([[3, 1], [0, 4]], [[0, 2], [0, 2]]), strict=True)
  ):
    _result(
      run.workdir,
      confusion_matrix=confusion,
      genres=['jazz', 'rock'],
      protocol='artist',
      split='test',
      track_accuracy=0.0,
    )
    config = {'data': {'num_folds': 2, 'fold': k}}
    (run.workdir / 'config.json').write_text(json.dumps(config))
  (row,) = compare(scores(runs))
  assert row['mean'] == pytest.approx(9 / 12) and row['num_tracks'] == [12]


SWEEP = [
  sys.executable,
  '-m',
  'mgc_jax',
  'sweep',
  f'--config={ROOT}/configs/smoke.py',
  '--seeds=0',
  '--config.train.num_epochs=1',
  '--config.train.checkpoint_every_steps=1',
  '--config.model.dense.sizes=(64,),(8,)',
]


@pytest.mark.slow
def test_killed_sweep_is_resumed_and_ends_with_a_table(tmp_path):
  """Kills the first of two array tasks, then runs the whole sweep.

  The second task then finds that nothing is left to do.
  """
  command = [*SWEEP, f'--workdir={tmp_path}/sweep']
  array = {'SLURM_ARRAY_TASK_COUNT': 2, 'SLURM_ARRAY_TASK_MAX': 1}
  first = Process(command, SLURM_ARRAY_TASK_ID=0, **array)
  first.wait_for(lambda: list(tmp_path.glob('sweep/*/*/checkpoints/1')), 240)
  first.kill()  # this also kills the run that it has started
  second = Process(command)
  assert second.wait() == 0, second.output
  assert second.output.count('resumed at step') == 1
  done = {
    path: path.stat().st_mtime_ns
    for path in tmp_path.glob('sweep/*/*/results.json')
  }
  assert len(done) == 2
  last = Process(command, SLURM_ARRAY_TASK_ID=1, **array)
  assert last.wait() == 0, last.output
  assert '| model.dense.sizes=(8,)  |     0 |     10 |' in last.output
  assert all(path.stat().st_mtime_ns == when for path, when in done.items())
  rows = json.loads((tmp_path / 'sweep' / 'sweep.json').read_text())['rows']
  assert [row['settings'] for row in rows] == [
    'model.dense.sizes=(64,)',
    'model.dense.sizes=(8,)',
  ]
  results = json.loads(sorted(done)[1].read_text())
  assert rows[1]['mean'] == results['track_accuracy']


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--config.train.speed=1'], 'config: no field speed'),
    (['--config.train.num_epochs=0,1'], 'config.train.num_epochs=0: must be'),
    (['--seeds=a'], '--seeds=a: must be whole numbers'),
    (['--config.seed=1'], 'use --seeds to set the seeds'),
  ],
)
def test_wrong_usage_is_reported_before_training(flags, message, tmp_path):
  words = [*SWEEP[4:5], *flags, f'--workdir={tmp_path}/sweep']
  done = run_command('mgc_jax', 'sweep', *words)
  assert done.returncode == 2
  assert message in done.stderr and 'Traceback' not in done.stderr
  assert not (tmp_path / 'sweep').exists()


def test_tilde_in_an_override_is_the_home_directory(monkeypatch):
  monkeypatch.setenv('HOME', '/home/ann')
  override = '--config.train.init_from=~/runs/mine/bundle'
  config = load_config(f'{ROOT}/configs/smoke.py', (override,))
  assert config.train.init_from == '/home/ann/runs/mine/bundle'
