"""Trains a music genre classifier and evaluates it, from audio to result.

With no data named, the embedded synthetic corpus is used. The same command
again continues an interrupted run, or prints the result of a finished one.

With --distributed the same command is started once per process, on one machine
or several that share --workdir. SLURM and TPU VMs say by themselves which
process is which; elsewhere --coordinator, --num_processes and --process_id do.

Examples:
  python -m mgc_jax.main --config=configs/crnn.py
  python -m mgc_jax.main --config=configs/cnn.py --workdir=runs/mine \
    --config.data.source=folder --config.data.root=/music
  python -m mgc_jax.main --config=configs/cnn.py --workdir=runs/mine \
    --mode=evaluate --config.data.source=manifest --config.data.manifest=a.csv
"""

from absl import flags
from ml_collections import config_flags

from mgc_jax.system import command_line

# The workers that decode start from this module: it imports nothing heavy.


def main() -> None:
  """Runs the mode that the flags name, alone or as one of several processes."""
  from mgc_jax.system import jax_runtime

  jax_runtime.set_up()
  if not flags.FLAGS.distributed:
    _run()
    return
  from mgc_jax.distributed import processes

  # First of all: nothing may touch a device before the processes have met.
  processes.join(
    flags.FLAGS.coordinator,
    flags.FLAGS.num_processes,
    flags.FLAGS.process_id,
  )
  with processes.leaving_at_once():
    _run()


def _run() -> None:
  from mgc_jax.system import jax_runtime
  from mgc_jax.training import experiment
  from mgc_jax.training.workdir import resolve_workdir

  jax_runtime.check_device()  # before hours of preparing
  config, mode = flags.FLAGS.config, flags.FLAGS.mode
  path = config_flags.get_config_filename(flags.FLAGS['config'])
  workdir = resolve_workdir(flags.FLAGS.workdir, config, path, mode)
  if mode == 'train':
    experiment.train_and_evaluate(config, workdir)
  else:
    experiment.evaluate_only(config, workdir)


if __name__ == '__main__':
  config_flags.DEFINE_config_file(
    'config', None, 'The config file, e.g. configs/crnn.py.', lock_config=True
  )
  flags.DEFINE_string(
    'workdir',
    None,
    'Folder of the run: config, checkpoints, bundle, metrics, plots, results. '
    'Default: runs/<config>-<digest of the configuration>.',
  )
  flags.DEFINE_enum(
    'mode',
    'train',
    ['train', 'evaluate'],
    'train: trains, then evaluates; evaluate: the bundle of --workdir on the '
    'data named.',
  )
  flags.DEFINE_bool('distributed', False, 'This is one of several processes.')
  flags.DEFINE_string(
    'coordinator',
    None,
    'host:port of process 0. Default: what the cluster says.',
  )
  flags.DEFINE_integer(
    'num_processes', None, 'How many there are. Default: the cluster says it.'
  )
  flags.DEFINE_integer(
    'process_id', None, 'Which this is, from 0. Default: the cluster says it.'
  )
  flags.mark_flag_as_required('config')
  command_line.run(main)
