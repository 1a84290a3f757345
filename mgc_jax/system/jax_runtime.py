"""Sets JAX up for a process: memory that is kept, compiled code that is kept.

Before JAX touches a device. What the environment says (JAX_...) stays. A cache
only saves time: where it cannot be kept, the work goes on without it.
"""

import atexit
import ctypes
import hashlib
import logging
import os
import pathlib
import platform
import shutil
import tempfile
import warnings

from mgc_jax.system.errors import ConfigError
from mgc_jax.system.user_dirs import cache_folder, is_usable

_logger = logging.getLogger(__name__)

_CACHE_BYTES = 1 << 30  # of compiled code; the least recently used goes first
_MIN_COMPILE_S = 0.5  # faster compilations are not worth a file
_JAX_CACHE_DIR = 'JAX_COMPILATION_CACHE_DIR'
_NUMBA_CACHE_DIR = 'NUMBA_CACHE_DIR'

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def set_up() -> None:
  """Does all of it."""
  keep_memory()
  keep_compiled()


def keep_memory() -> None:
  """Keeps memory that is freed for the next use, up to the process's peak.

  XLA's CPU backend allocates the buffers of every step anew, and the fresh
  pages cost more than the arithmetic: a convolutional step ran 1.7 x as
  fast with this, its inference 2.25 x (docs/PERFORMANCE.md). Linux with glibc;
  elsewhere nothing changes.
  """
  import jax  # half a second; not where only the folder is asked for

  if platform.libc_ver()[0] == 'glibc':
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap
    mallopt(_M_TRIM_THRESHOLD, -1)  # and what is free there stays
    mallopt(_M_TOP_PAD, 64 << 20)
  # Steps run in this thread, whose heap is the one that can grow at will, and
  # one at a time: queued ones would each have their buffers.
  if 'JAX_CPU_ENABLE_ASYNC_DISPATCH' not in os.environ:
    jax.config.update('jax_cpu_enable_async_dispatch', False)


def keep_compiled() -> None:
  """Keeps compiled functions in the user's cache, for the next process.

  Where the cache cannot be used, nothing is kept.
  """
  import jax

  # A cache that fails later, on a full disk or at a file of another user, is
  # not worth a warning at every compilation.
  warnings.filterwarnings(
    'ignore', 'Error (reading|writing) persistent compilation cache entry'
  )
  chosen = os.environ.get(_JAX_CACHE_DIR)
  if chosen is None:
    folder = cache_folder('compiled', _machine())
    if not folder:
      return
    jax.config.update('jax_compilation_cache_dir', str(folder))
    if 'JAX_COMPILATION_CACHE_MAX_SIZE' not in os.environ:
      jax.config.update('jax_compilation_cache_max_size', _CACHE_BYTES)
  elif '://' not in chosen and not is_usable(pathlib.Path(chosen)):
    _logger.warning(
      '%s=%s: the folder cannot be read and written, so compiled code is not '
      'kept',
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
  """Starts JAX's devices, so that a fault of the set-up shows at once.

  In a distributed run the processes must have met before this.

  Raises:
    ConfigError: JAX cannot start any device here.
  """
  import jax

  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:
    reason = ' '.join(str(error).split())
    detail = f' ({reason})' if reason else ''  # an AssertionError gives none
    platforms = os.environ.get('JAX_PLATFORMS')
    if platforms:
      raise ConfigError(
        f'JAX_PLATFORMS={platforms}: JAX cannot start this platform '
        f'here{detail}; unset JAX_PLATFORMS, or install JAX for the platform, '
        "e.g. pip install 'mgc_jax[cuda]'"
      ) from error
    raise ConfigError(
      f'JAX cannot start a device{detail}; check the installation of jax and '
      'jaxlib, and the variables JAX_... of the environment'
    ) from error


def allow_librosa() -> None:
  """Makes it possible to import librosa where nothing can be kept.

  The import compiles functions with numba, and fails where numba finds no
  folder that it can write: for a user without a home directory whose packages
  belong to another user. Such a process gets a temporary folder of its own,
  which is deleted when it ends. Call this before librosa is imported.
  """
  chosen = os.environ.get(_NUMBA_CACHE_DIR)
  if chosen and is_usable(pathlib.Path(chosen)):
    return
  folder = cache_folder('numba')
  if not folder:
    folder = pathlib.Path(tempfile.mkdtemp(prefix='mgc_jax-numba-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
  os.environ[_NUMBA_CACHE_DIR] = str(folder)


def _machine() -> str:
  """Returns a name for what XLA's machine code for CPU depends on.

  A home folder may be shared by machines whose processors know other
  instructions, and the code depends on the number of cores; JAX's own key has
  neither.
  """
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    facts = sorted({x for x in lines if x.startswith(('flags', 'Features'))})
  except OSError:
    facts = [platform.processor()]
  if hasattr(os, 'sched_getaffinity'):
    facts.append(str(len(os.sched_getaffinity(0))))
  else:
    facts.append(str(os.cpu_count()))
  facts += [platform.machine(), os.environ.get('NPROC', '')]
  return hashlib.sha256('\n'.join(facts).encode()).hexdigest()[:12]
