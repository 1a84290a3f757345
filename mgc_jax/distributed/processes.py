"""Starts and ends a process that is one of several in a run."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

import jax

from mgc_jax.system import command_line, jax_runtime
from mgc_jax.system.arguments import CONTINUES
from mgc_jax.system.errors import ConfigError, DataError

# XLA's errors that are this process's own, not due to another that has ended.
_OWN_FAULTS = ('INVALID_ARGUMENT', 'RESOURCE_EXHAUSTED', 'UNIMPLEMENTED')

_logger = logging.getLogger(__name__)


def join(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
  """Connects to the other processes; call it before anything uses a device.

  All arguments are None on a cluster that provides them (SLURM, TPU VMs).

  Args:
    coordinator: host:port of process 0.
    num_processes: how many processes the run has.
    process_id: this process's index.

  Raises:
    ConfigError: an argument is missing, and no cluster provides it.
    DataError: this process cannot reach or be the coordinator. If others do
      not connect within 300 s, JAX aborts this process.
  """
  # It would ignore SIGTERM; a run must stop on SIGTERM, and can resume.
  jax.config.update('jax_enable_preemption_service', False)
  # A task to which one of several GPUs is assigned sees it as its first one.
  visible = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')
  only = [0] if len(visible) == 1 and visible[0] else None
  _logger.info('waiting for the other processes, for at most 300 s')
  try:
    jax.distributed.initialize(
      coordinator, num_processes, process_id, local_device_ids=only
    )
  except (TypeError, ValueError) as error:
    raise ConfigError(
      f'--distributed: {error} No cluster was found that provides it; set '
      '--coordinator=HOST:PORT, --num_processes and --process_id'
    ) from error
  except RuntimeError as error:
    raise DataError(
      f'--distributed: the processes could not connect ({error}); is the port '
      'of --coordinator free, and can all reach it?'
    ) from error
  jax_runtime.check_device()
  _logger.info(
    'process %d of %d, %d of %d devices',
    jax.process_index(),
    jax.process_count(),
    jax.local_device_count(),
    jax.device_count(),
  )
  if jax.process_index():
    # One process logs; the others log only errors.
    logging.getLogger('mgc_jax').setLevel(logging.ERROR)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
  """Ends this process immediately if the block fails.

  Otherwise it would wait for the other processes at its end, forever if one of
  them has ended already or is waiting for this one.
  """
  try:
    yield
  except BaseException as error:  # noqa: B036
    reason = _failure_of_another(error)
    if reason:
      error = DataError(
        f'another process of this run has ended ({reason}); start all of them '
        'again with the same command to continue'
      )
    code = command_line.explain(error, CONTINUES)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _failure_of_another(error: BaseException | None) -> str | None:
  """Returns the message of the first cause that blames another process."""
  found = None
  while error is not None:
    text = str(error).partition('\n')[0]
    of_xla = isinstance(error, jax.errors.JaxRuntimeError)
    # JAX also raises a ValueError, as when Orbax sums over processes.
    of_gloo = isinstance(error, ValueError) and 'Gloo' in text
    if (of_xla or of_gloo) and not text.startswith(_OWN_FAULTS):
      found = text
    error = error.__cause__
  return found
