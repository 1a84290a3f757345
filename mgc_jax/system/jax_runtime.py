"""Configures JAX for a process: memory reuse and the compilation cache.

Call this before JAX touches a device. Environment variables (JAX_...) take
precedence. A cache only saves time: if it cannot be used, the process continues
without it.
"""

import ctypes
import hashlib
import logging
import os
import pathlib
import platform
import warnings

from mgc_jax.system import cores
from mgc_jax.system.errors import ConfigError
from mgc_jax.system.user_dirs import cache_folder, is_usable

_logger = logging.getLogger(__name__)

_CACHE_BYTES = 1 << 30  # of compiled code; the least recently used is evicted
_MIN_COMPILE_S = 0.5  # faster compilations are not worth a file
_JAX_CACHE_DIR = 'JAX_COMPILATION_CACHE_DIR'

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def set_up() -> None:
  """Configures both memory reuse and the compilation cache."""
  keep_memory()
  keep_compiled()


def keep_memory() -> None:
  """Makes malloc reuse freed memory instead of returning it to the system.

  XLA's CPU backend allocates new buffers in every step, and the page faults
  cost more than the arithmetic: with this a convolutional step was 1.7 times
  and its inference 2.25 times as fast (docs/PERFORMANCE_NOTES.md). Has an
  effect only on Linux with glibc.
  """
  import jax  # takes half a second, which not every user of this module needs

  if platform.libc_ver()[0] == 'glibc':
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap
    mallopt(_M_TRIM_THRESHOLD, -1)  # and free memory stays there
    mallopt(_M_TOP_PAD, 64 << 20)
  # Run steps in this thread, because only the main heap can grow without limit,
  # and one at a time, because queued steps would each need their own buffers.
  if 'JAX_CPU_ENABLE_ASYNC_DISPATCH' not in os.environ:
    jax.config.update('jax_cpu_enable_async_dispatch', False)


def keep_compiled() -> None:
  """Enables JAX's compilation cache in the user's cache folder, if usable."""
  import jax

  # If the cache fails later, on a full disk or at a file of another user, that
  # is not worth a warning at every compilation.
  warnings.filterwarnings(
    'ignore', 'Error (reading|writing) persistent compilation cache entry'
  )
  chosen = os.environ.get(_JAX_CACHE_DIR)
  if chosen is None:
    folder = cache_folder('compiled', machine())
    if not folder:
      return
    jax.config.update('jax_compilation_cache_dir', str(folder))
    if 'JAX_COMPILATION_CACHE_MAX_SIZE' not in os.environ:
      jax.config.update('jax_compilation_cache_max_size', _CACHE_BYTES)
  elif '://' not in chosen and not is_usable(pathlib.Path(chosen)):
    _logger.warning(
      '%s=%s: the folder cannot be read and written, so compiled code is not '
      'cached',
      _JAX_CACHE_DIR,
      chosen,
    )
    jax.config.update('jax_compilation_cache_dir', None)
    return
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update(
      'jax_persistent_cache_min_compile_time_secs', _MIN_COMPILE_S
    )


def check_device() -> None:
  """Initialises JAX's devices, so that a wrong installation fails early.

  In a distributed run, call this after `jax.distributed.initialize`.

  Raises:
    ConfigError: JAX cannot start any device here.
  """
  import jax

  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:
    reason = ' '.join(str(error).split())
    detail = f' ({reason})' if reason else ''  # an AssertionError has none
    platforms = os.environ.get('JAX_PLATFORMS')
    if platforms:
      raise ConfigError(
        f'JAX_PLATFORMS={platforms}: JAX cannot start this platform '
        f'here{detail}; unset JAX_PLATFORMS, or install JAX for the platform, '
        "e.g. pip install 'mgc_jax[cuda]'"
      ) from error
    raise ConfigError(
      f'JAX cannot start a device{detail}; check the installation of jax and '
      'jaxlib, and the environment variables JAX_...'
    ) from error


def machine() -> str:
  """Returns a hash of what XLA's machine code for CPU depends on.

  A home folder may be shared by machines whose processors have different
  instruction sets, and the code depends on the number of cores; JAX's own cache
  key contains neither.
  """
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    facts = sorted({x for x in lines if x.startswith(('flags', 'Features'))})
  except OSError:
    facts = [platform.processor()]
  facts += [
    str(cores.count()),
    platform.machine(),
    os.environ.get('NPROC', ''),
  ]
  return hashlib.sha256('\n'.join(facts).encode()).hexdigest()[:12]
