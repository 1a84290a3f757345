"""Several processes as one run: how they meet, and what one of them says."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

import jax

from mgc_jax.system import command_line, jax_runtime
from mgc_jax.system.errors import ConfigError, DataError

# What XLA says of this process, not of another that is gone.
_OWN_FAULTS = ('INVALID_ARGUMENT', 'RESOURCE_EXHAUSTED', 'UNIMPLEMENTED')

_logger = logging.getLogger(__name__)


def join(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
  """Meets the other processes; before anything touches a device.

  Args:
    coordinator: host:port of process 0; None where the cluster says it, as
      SLURM and TPU VMs do.
    num_processes: likewise.
    process_id: likewise.

  Raises:
    ConfigError: nothing says which process this is.
    DataError: this process cannot reach or be the coordinator. Where others
      do not come within 300 s, JAX aborts this process.
  """
  # It would swallow SIGTERM; a run that is told to end is to end, and resumes.
  jax.config.update('jax_enable_preemption_service', False)
  # A task that is given one GPU of several sees it as its first one.
  visible = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')
  only = [0] if len(visible) == 1 and visible[0] else None
  _logger.info('waiting for the other processes, for at most 300 s')
  try:
    jax.distributed.initialize(
      coordinator, num_processes, process_id, local_device_ids=only
    )
  except (TypeError, ValueError) as error:
    raise ConfigError(
      f'--distributed: {error} No cluster was found that says it; set '
      '--coordinator=HOST:PORT, --num_processes and --process_id'
    ) from error
  except RuntimeError as error:
    raise DataError(
      f'--distributed: the processes could not meet ({error}); is the port of '
      '--coordinator free, and can all reach it?'
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
    # One of them speaks; of the others, only what goes wrong.
    logging.getLogger('mgc_jax').setLevel(logging.ERROR)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
  """Ends this process at once where it fails.

  The ordinary end of a process waits for all the others, which is in vain where
  one of them is gone, or waits for this one.
  """
  try:
    yield
  except BaseException as error:  # noqa: B036
    reason = _failure_of_another(error)
    if reason:
      error = DataError(
        f'another process of this run has ended ({reason}); started again, all '
        'of them, the same command continues'
      )
    code = command_line.explain(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _failure_of_another(error: BaseException | None) -> str | None:
  """Returns what an error, or the first of its causes, says of a peer."""
  found = None
  while error is not None:
    text = str(error).partition('\n')[0]
    of_xla = isinstance(error, jax.errors.JaxRuntimeError)
    # JAX also raises a ValueError, as where Orbax adds up over processes.
    of_gloo = isinstance(error, ValueError) and 'Gloo' in text
    if (of_xla or of_gloo) and not text.startswith(_OWN_FAULTS):
      found = text
    error = error.__cause__
  return found
